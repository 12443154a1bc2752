"""Parsers of command-line arguments: what is wrong is named, with what would be right.

They raise argparse.ArgumentTypeError, which argparse shows with the usage; exit code 2.
"""

import argparse
import math
import re
from collections.abc import Callable

from ..chip.cost import MODEL_STACK, stacks
from ..chip.dtype import DType
from ..chip.errors import DTypeError, did_you_mean, nearest_name
from ..collectives.reduce_op import REDUCIBLE, REDUCIBLE_BLOCKS
from ..fabric.errors import UnknownBox
from ..fabric.topology import Box, load_box
from ..mesh.errors import PlacementError
from ..mesh.placement import axis_index
from ..models.precision import Precision

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def one_of(what: str, legal: tuple[str, ...]) -> Callable[[str], str]:
    """A parser of one of the legal names; the nearest is named in the error."""

    def parse(text: str) -> str:
        if text not in legal:
            hint = did_you_mean(nearest_name(text, list(legal)))
            raise argparse.ArgumentTypeError(
                f"unknown {what} {text!r}{hint} Known: {', '.join(legal)}."
            )
        return text

    return parse


def box(text: str) -> Box:
    """The box of that name or alias."""
    try:
        return load_box(text)
    except UnknownBox as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def any_dtype(text: str) -> DType:
    """A number format."""
    try:
        return DType.parse(text)
    except DTypeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def dtype(text: str) -> DType:
    """A number format that collectives add up."""
    found = any_dtype(text)
    if found not in (*REDUCIBLE, *REDUCIBLE_BLOCKS):
        known = ", ".join(kind.label for kind in (*REDUCIBLE, *REDUCIBLE_BLOCKS))
        raise argparse.ArgumentTypeError(f"dtype {found.label}: measured are {known}")
    return found


def precision(text: str) -> Precision:
    """The formats that a model runs in."""
    try:
        return Precision.parse(text)
    except DTypeError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


PRECISION_HELP = (
    "float32, bfloat16, performance (bfp4 gate and up, bfp8 elsewhere), accuracy (bfp8 MLP), or a "
    "format of all weights such as bfp8_b"
)


def add_stack(command: argparse.ArgumentParser) -> None:
    """Add --stack: whose software the simulated time is of."""
    command.add_argument(
        "--stack",
        choices=stacks(),
        default=MODEL_STACK,
        help=(
            "software whose simulated time it is: tt_transformers (the general library), tuned (a "
            "port written for its box) or ttnn (bare ops, no overhead of a model's software); "
            "default %(default)s"
        ),
    )


def axis(text: str) -> int | None:
    """A mesh axis: row or 0, col or 1."""
    try:
        return axis_index(int(text) if text.isdecimal() else text)
    except PlacementError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def size(text: str) -> int:
    """Bytes: a number, or one with K, M or G; 4K, 4KB and 4KiB are 4096."""
    found = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text, re.IGNORECASE)
    if found is None or int(found[1]) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a size: give bytes, 1 or more, or a number with K, M or G, as in 64K"
        )
    return int(found[1]) * UNITS[found[2].upper()]


def above_zero(text: str) -> float:
    """A number above zero."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


def at_least(least: int) -> Callable[[str], int]:
    """A parser of whole numbers from `least` up."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, {least} or more")
        return int(text)

    return parse
