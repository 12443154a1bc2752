"""`meshtwin doctor`: what this machine and this installation have, and what to do about it."""

import argparse
import importlib
import json
import os
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .. import __version__
from ..chip import kernels

EXTENSIONS = {
    "chip.kernels._core": "numpy loops instead: a decode step several times slower",
    "collectives._direct": "collectives by messages instead of shared memory: several times slower",
    "fabric.transport._signal": "waiting in Python instead of on a futex: slower small messages",
    "fabric.transport._heap": "tensors are copied into shared memory instead of living there",
}
"""The compiled parts, and what is so without each."""

PACKAGES = ("ray", "numpy", "torch", "transformers")
LEAST_MEMORY_BYTES = 4 << 30
LEAST_SHARED_BYTES = 1 << 30


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "doctor",
        parents=[common],
        help="check this installation: compiled parts, instruction set, memory, versions",
        description=(
            "Say which compiled parts are there, which instruction set they picked, and what this "
            "machine has; then what to do, if anything. Exit code 1 if something should be done."
        ),
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print what was found, or with --json one object; 1 if there is advice."""
    report = examine()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        _print(report)
    return 1 if report["advice"] else 0


def examine() -> dict[str, Any]:
    """What there is, as plain values; sizes in bytes, None where the machine does not say."""
    report: dict[str, Any] = {
        "meshtwin": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "extensions": {name: _imports(name) for name in EXTENSIONS},
        "instruction_set": kernels.instruction_set(),
        "cpu": _cpu_model(),
        "num_cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": _memory_bytes("MemTotal"),
        "available_bytes": _memory_bytes("MemAvailable"),
        "shared_memory_bytes": _shared_memory_bytes(),
    }
    return report | {"advice": advice(report)}


def advice(report: dict[str, Any]) -> list[str]:
    """What to do about what `examine` found, a sentence each; empty if all is well."""
    found = [
        f"meshtwin.{name} is missing ({EXTENSIONS[name]})."
        for name, there in report["extensions"].items()
        if not there
    ]
    if found:
        found.append("Install gcc or clang and Python's headers, then reinstall meshtwin.")
    if report["extensions"]["chip.kernels._core"] and report["instruction_set"] == "portable":
        found.append("The processor has no AVX2 with FMA: products take several times as long.")
    available, shared = report["available_bytes"], report["shared_memory_bytes"]
    if available is not None and available < LEAST_MEMORY_BYTES:
        found.append(
            f"{available / 1e9:.1f} GB of memory are free: open a small box (p150, quietbox2)."
        )
    if shared is not None and shared < LEAST_SHARED_BYTES:
        found.append(
            f"/dev/shm has {shared / 1e9:.1f} GB free: in a container, start it with --shm-size=2g."
        )
    return found


def _print(report: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_row("meshtwin", f"{report['meshtwin']}, Python {report['python']}")
    table.add_row(
        "packages",
        ", ".join(f"{name} {found or 'missing'}" for name, found in report["packages"].items()),
    )
    for name, there in report["extensions"].items():
        table.add_row(f"meshtwin.{name}", "compiled" if there else "missing")
    table.add_row("instruction set", report["instruction_set"])
    table.add_row("processor", f"{report['cpu']}, {report['num_cpus']} cores")
    for title in ("memory", "available", "shared memory"):
        size = report[f"{title.replace(' ', '_')}_bytes"]
        table.add_row(title, "unknown" if size is None else f"{size / 1e9:.1f} GB")
    console = Console()
    console.print(table)
    console.print()
    for sentence in report["advice"] or ["All is well."]:
        console.print(sentence)


def _imports(name: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a missing core: we say it in our own words
        try:
            importlib.import_module(f"meshtwin.{name}")
        except ImportError:
            return False
    return True


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu_model() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes(field: str) -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


def _shared_memory_bytes() -> int | None:
    try:
        found = os.statvfs("/dev/shm")
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
