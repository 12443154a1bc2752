"""`meshtwin memory`: what a model takes of a chip's DRAM and L1, block by block."""

import argparse
import json
import runpy
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..chip.errors import InvalidArgument, human_bytes
from ..chip.memory.banks import layers_together
from ..chip.memory.report import BankReport, MemoryReport
from ..fabric.topology import Box
from ..mesh.plan import plan_chip
from ..models.catalogue import model_shape
from ..models.config import DecoderConfig
from ..models.errors import UnknownShapePath
from ..models.hugging_face import read_config
from ..models.memory_plan import plan_memory
from ..models.precision import Precision
from . import arguments
from .memory_picture import LETTERS, OTHER, extent, svg, text_bar
from .pull import pull

DESCRIPTION = """\
Say what a model takes of the memory of a chip of a box: weights, caches and the largest prefill, at
the addresses where they would lie. The model's own code runs in plan mode: no weight is read, no
chip is opened, so a folder with nothing but a config.json will do. Or of a program of yours: what
it holds when it returns, and its peak. Exit code 1 if it does not fit.
"""
EPILOG = """\
examples:
  meshtwin memory --model smollm2 --box quietbox2
  meshtwin memory --model llama-3.1-8b --box p150 --max-length 8192 --svg memory.svg
  meshtwin memory --program my_program.py --box galaxy
"""
LENGTH = 2048
WIDTH = 110
"""What the tables may take: on a narrow terminal, or a pipe, no number is cut short."""
BAR_WIDTH = 96
MOST_HOLDERS = 16
"""Holders in the table; --json has them all."""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "memory",
        parents=[common],
        help="what a model or a program takes of a chip's memory",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument(
        "--program",
        metavar="FILE.py",
        help="instead of a model: `program(chip)` of this file, run on chip 0 in plan mode",
    )
    what.add_argument(
        "--model",
        default="smollm2",
        help="as of `meshtwin plan`, or a Hugging Face name (org/name); no weight is needed",
    )
    command.add_argument(
        "--box", type=arguments.box, default="quietbox2", help="see `meshtwin boxes` (%(default)s)"
    )
    command.add_argument(
        "--max-length", type=arguments.at_least(2), metavar="N",
        help=f"tokens that the cache has room for (the model's context, at most {LENGTH})",
    )  # fmt: skip
    command.add_argument(
        "--prompt-length", type=arguments.at_least(1), metavar="N",
        help="tokens of the prefill whose peak is found (all but one)",
    )  # fmt: skip
    command.add_argument(
        "--batch", type=arguments.at_least(1), default=1, help="sequences (%(default)s)"
    )
    command.add_argument(
        "--precision",
        "--dtype",
        type=arguments.precision,
        default="bfloat16",
        help=f"{arguments.PRECISION_HELP} (%(default)s)",
    )
    command.add_argument("--svg", metavar="FILE", help="also draw a picture")
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan the model, or the program, and print what its memory holds."""
    if args.program:
        return tell(args, args.program, run_program(args.program, args.box))
    config = shape_of(args.model, args.precision)
    length = args.max_length or min(LENGTH, config.max_position_embeddings)
    report = plan_memory(args.box, config, args.precision, length, args.prompt_length, args.batch)
    return tell(args, args.model, report, length)


def shape_of(model: str, precision: Precision) -> DecoderConfig:
    """The shape of a model that the catalogue knows, of a config, or of what can be pulled.

    Raises:
        UnknownShape: it is none of these; others as `pull`.
    """
    try:
        return model_shape(str(Path(model).expanduser()))
    except UnknownShapePath:
        return read_config(pull(model, precision.checkpoint_dtype))


def run_program(file: str, box: Box) -> MemoryReport:
    """The memory of chip 0 after `program(chip)` of a Python file, what it returned still held.

    Raises:
        InvalidArgument: the file defines no function `program`.
    """
    program = runpy.run_path(file).get("program")
    if not callable(program):
        raise InvalidArgument(f"{file} defines no function program(chip)")
    chip = plan_chip(box)
    held = program(chip)
    report = chip.memory_report()
    del held
    return report


def tell(
    args: argparse.Namespace, name: str, report: MemoryReport, length: int | None = None
) -> int:
    """Print the report of a model with room for `length` tokens, or of a program (None)."""
    if args.svg:
        Path(args.svg).write_text(svg(report), encoding="utf-8")
    if args.json:
        print(json.dumps(describe(name, args.box, length, report), indent=2))
    else:
        show(name, args.box, length, report, Console(width=WIDTH))
    return 0


def describe(name: str, box: Box, length: int | None, report: MemoryReport) -> dict[str, Any]:
    """The report and what it is of, as plain values; bytes are those of one bank or core."""
    return {"of": name, "box": box.name, "max_length": length, **report.as_dict()}


def show(name: str, box: Box, length: int | None, report: MemoryReport, console: Console) -> None:
    """Tables and bars for people."""
    room = "" if length is None else f", room for {length} tokens"
    console.print(
        f"{name} on {box.name}: chip {report.chip} of {box.num_chips} ({report.product}){room}\n",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("one of")
    for title in ("size", "reserved", "used", "free", "largest free", "peak", "peak of all"):
        table.add_column(title, justify="right", no_wrap=True)
    for bank in (report.dram, report.l1):
        table.add_row(_unit(bank), *_figures(bank))
    console.print(table)
    for bank in (report.dram, report.l1):
        _show_bank(bank, console)


def _unit(bank: BankReport) -> str:
    return f"{bank.num_banks} {'DRAM banks' if bank.buffer == 'DRAM' else 'cores, L1'}"


def _figures(bank: BankReport) -> list[str]:
    sizes = (
        bank.bank_bytes,
        bank.reserved_bytes,
        bank.used_bytes,
        bank.free_bytes,
        bank.largest_free_bytes,
        bank.peak_bytes,
        bank.peak_bytes * bank.num_banks,
    )
    return [human_bytes(size) for size in sizes]


def _show_bank(bank: BankReport, console: Console) -> None:
    end = human_bytes(extent(bank))
    console.print(
        f"\none of {_unit(bank)}: the first {end} (#: reserved, .: free)", highlight=False
    )
    console.print(text_bar(bank, BAR_WIDTH), highlight=False, markup=False)
    found = layers_together(bank.holders)
    if not found:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("holder")
    table.add_column("in each", justify="right", no_wrap=True)
    table.add_column("in all", justify="right", no_wrap=True)
    for i, (name, size) in enumerate(found[:MOST_HOLDERS]):
        letter = LETTERS[i] if i < len(LETTERS) else OTHER
        table.add_row(letter, name, human_bytes(size), human_bytes(size * bank.num_banks))
    rest = found[MOST_HOLDERS:]
    if rest:
        size = sum(size for _, size in rest)
        table.add_row(
            "", f"{len(rest)} more", human_bytes(size), human_bytes(size * bank.num_banks)
        )
    console.print(table)
