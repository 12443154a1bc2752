"""Measured reads of DRAM by placement: transfers of the NoC model, and weights of decode products.

Rows: those of chip/data/noc_measured.csv that read DRAM, and the dram_bw rows of ops.csv.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from ...chip.chip import Chip
from ...chip.cost import Work
from ...chip.dtype import DType
from ...chip.noc import Noc
from ...chip.noc.measured import PRODUCTS, predict, row_of
from ...chip.noc.patterns import adjacent
from ...chip.spec import load_product
from ...chip.units import PS_PER_US
from .case import Case, counted
from .place import Free, Place
from .table import Line, parse, shipped

FREE = (Free(Place("ttnn", "wormhole_b0", "decode_feed_efficiency"), 0.05, 1),)

NOTE = (
    "82 of the rows are one core reading one bank; the NoC's constants (noc.toml) are not fitted "
    "here, so left out is no test of them"
)

SETUPS = ("all from own bank", "all from all banks", "adjacent readers", "arbitrary readers")
MB = 10**6
READ_BYTES = 128 * MB
"""Times are those of so many bytes, where a row gives a rate."""

EXCLUDED: Mapping[str, str] = {
    "DRAM spec": "not measured",
    "per-tile (2KB) reads, barrier per block": "how long a block is, is not said",
}


def lines() -> list[Line]:
    """The shipped rows."""
    text = (files("meshtwin.chip") / "data" / "noc_measured.csv").read_text(encoding="utf-8")
    transfers = [line for line in parse("noc_measured.csv", text) if _is_dram_read(line)]
    return transfers + [line for line in shipped("ops.csv") if line.text("category") == "dram_bw"]


def excluded(line: Line) -> str:
    """Why a row says nothing that can be predicted; "" when it does."""
    if line.text("what"):
        return "" if _is_dram_read(line) else "no read of DRAM"
    if line.text("category") != "dram_bw":
        return "no read of DRAM"
    for name in (line.text("op"), line.text("shape_or_cfg")):
        if name in EXCLUDED:
            return EXCLUDED[name]
    if line.text("arch") == "blackhole":
        return "noc_measured.csv has it, too"
    return ""


def case(line: Line) -> Case:
    """The reads of a row: columns of noc_measured.csv, or of ops.csv with a rate at 12 GT/s first
    in derived_GBps_or_TFLOPS ("239-260 | 247-294": the middle of a range is taken).

    Raises:
        BadRow: a field is missing or wrong.
    """
    return _transfer(line) if line.text("what") else _rate(line)


def _transfer(line: Line) -> Case:
    arch = line.one_of("arch", list(PRODUCTS))
    line.one_of("unit", ("clock", "GB/s"))
    line.number_of("value")
    try:
        row = row_of(line.fields)
    except ValueError as error:
        raise line.bad(str(error)) from error
    spec = load_product(PRODUCTS[arch])
    predicted = predict(row)
    if row.unit == "clock":
        measured_us, fixed_us = (clocks * 1e6 / spec.clock_hz for clocks in (row.value, predicted))
    else:
        measured_us, fixed_us = (READ_BYTES / rate / 1000 for rate in (row.value, predicted))
    what = row.what if row.what in SETUPS else "one reader of one bank"
    return Case(
        group=f"{arch} {what}",
        label=f"{arch} {what}, NoC{row.noc} {row.dst} {row.transactions} x {row.num_bytes} B",
        spec=spec,
        stack="ttnn",
        measured_us=measured_us,
        fixed_us=fixed_us,
    )


def _rate(line: Line) -> Case:
    arch = line.one_of("arch", ("wormhole_b0",))
    text = line.text("derived_GBps_or_TFLOPS").partition("|")[0]
    try:
        ends = [float(end) for end in text.split("-")]
    except ValueError:
        raise line.bad(f"derived_GBps_or_TFLOPS (={text!r}) must be a rate or a range") from None
    rate = sum(ends) / len(ends)
    spec = load_product(PRODUCTS[arch])
    op = line.text("op")
    num_bytes, fixed_us = READ_BYTES, 0.0
    works: tuple[tuple[Work, int], ...] = ()
    if op == "DRAM u-benchmark":
        fixed_us = _adjacent_us(arch)
    else:
        num_bytes, works = _weights_read(spec.name)
    return Case(
        group=f"{arch} {op}",
        label=f"{arch} {op} {text.strip()} GB/s",
        spec=spec,
        stack="ttnn",
        measured_us=num_bytes / rate / 1000,
        works=works,
        fixed_us=fixed_us,
        is_device=True,
    )


def _weights_read(product: str) -> tuple[int, tuple[tuple[Work, int], ...]]:
    """The bytes of the weights of a decode product, and its work."""
    chip = Chip.open(product, plan=True)
    weight = chip.empty((8192, 8192), DType.BFP8_B)
    chip.matmul(chip.empty((32, 8192)), weight)
    return weight.spec.padded_bytes, counted(chip.recorder.works())[0]


@cache
def _adjacent_us(arch: str) -> float:
    """The time of READ_BYTES at the rate of readers beside their banks."""
    noc = Noc(load_product(PRODUCTS[arch]))
    reads = adjacent(noc, 8192, 64, 0)
    num_bytes = sum(read.num_bytes for read in reads)
    return max(noc.together(reads)) / PS_PER_US * READ_BYTES / num_bytes


def _is_dram_read(line: Line) -> bool:
    what = line.text("what")
    return what in SETUPS or (what == "read" and line.text("src").startswith("d"))
