"""A driver script in a process of its own, watched from outside: what it starts, what it leaves."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from meshtwin.mesh.session_folder import TEMP_PREFIX, TEMP_ROOT

LIMIT_S = 60.0

PROLOGUE = """
import os, signal, sys, time
import numpy as np
from meshtwin.mesh.device import open_mesh
from meshtwin.mesh.errors import ChipDown, MeshClosed

def forever(chip, x):
    while True:
        x = chip.all_reduce(chip.mul(x, x))

def fails(chip, x):
    if chip.rank == 1:
        raise KeyError("planted")
    return chip.all_reduce(x)
"""


def _heed_ctrl_c() -> None:
    """A shell's background job ignores it, and so would everything that the job starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Driver:
    """A script (or a command) in a process group of its own, and everything that it starts."""

    def __init__(self, script: str | list[str]) -> None:
        self.before = shared_memory()
        if isinstance(script, str):
            script = [sys.executable, "-c", PROLOGUE + textwrap.dedent(script)]
        self.process = subprocess.Popen(
            script,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
        )
        self.family: set[psutil.Process] = set()

    def wait_for(self, word: str) -> str:
        """Read lines up to one that starts with `word`, then note all child processes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                self.note_family()
                return line.removeprefix(word).strip()
        raise AssertionError(f"no {word!r}: {self.process.stderr and self.process.stderr.read()}")

    def note_family(self) -> None:
        """Note all child processes, to look for them in the end."""
        with suppress(psutil.NoSuchProcess):  # the script has ended already
            self.family |= set(psutil.Process(self.process.pid).children(recursive=True))

    def named(self, *words: str) -> set[psutil.Process]:
        """Its noted processes whose command line has one of the words."""
        return {process for process in self.family if any(w in _command(process) for w in words)}

    def press_ctrl_c(self) -> None:
        """SIGINT to the whole process group, as a terminal does it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def folders(self) -> list[Path]:
        """The temporary folders of the script's own Ray."""
        return list(Path(TEMP_ROOT).glob(f"{TEMP_PREFIX}{self.process.pid}-*"))

    def left_nothing(self, limit_s: float = LIMIT_S) -> None:
        """No process is left, and so no socket and no memory; no name in /dev/shm, no folder."""
        until(lambda: not self.living(), limit_s, self.living)
        assert shared_memory() <= self.before
        assert not self.folders()

    def living(self) -> list[psutil.Process]:
        """Its processes that still run (a zombie does not: it only waits to be counted)."""
        return [process for process in self.family if _runs(process)]

    def end(self) -> tuple[int, str, str]:
        """Exit code, the rest of stdout, and stderr."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """End what is left, after a failed test."""
        self.note_family()
        self.process.kill()
        for process in self.family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.communicate()


def shared_memory() -> set[str]:
    """Names of shared memory: there should be none of ours, ever.

    Python's semaphores (sem.*) of other programs come and go; nothing of ours makes any.
    """
    names = {path.name for path in Path("/dev/shm").iterdir()}
    return {name for name in names if not name.startswith("sem.")}


def until(true: Callable[[], bool], limit_s: float, state: Callable[[], object]) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, state()
        time.sleep(0.1)


def _command(process: psutil.Process) -> str:
    """The command line, empty for a process that has ended."""
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
