"""What was measured on silicon, and what the model says of it. Rows: data/noc_measured.csv.

A row is a single transfer (read, write, multicast) or one of `SETUPS`: many transfers at once.
"""

import csv
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..errors import InvalidArgument
from ..spec import load_product
from ..units import PS_PER_S
from .noc import Noc
from .patterns import adjacent, all_from_dram
from .places import place, rectangle
from .transfer import Transfer

PRODUCTS = {"blackhole": "p150", "wormhole_b0": "n150"}
"""The cards that were measured."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `dst` is a place, a rectangle, or how many cores take part."""

    arch: str
    what: str
    noc: int
    src: str
    dst: str
    transactions: int
    num_bytes: int
    value: float
    unit: str  # clock, or GB/s
    source: str


@dataclass(frozen=True, slots=True)
class Residual:
    """How the model meets a group of rows: errors are (model - measured) / measured."""

    arch: str
    group: str
    num_rows: int
    mean: float  # of absolute errors
    least: float
    most: float


def measured_rows() -> list[Row]:
    """Every row of data/noc_measured.csv."""
    text = (files("meshtwin.chip") / "data" / "noc_measured.csv").read_text()
    return [row_of(fields) for fields in csv.DictReader(text.splitlines())]


@cache
def predict(row: Row) -> float:
    """What the model says of a row, in its unit."""
    noc = _noc(row.arch)
    setup = SETUPS.get(row.what)
    if setup is None:
        return _clocks(noc, _transfer(noc, row).sim_latency_ps)
    return setup(noc, row)


def residuals() -> list[Residual]:
    """The model against every row, by architecture and kind of row."""
    errors: dict[tuple[str, str], list[float]] = {}
    for row in measured_rows():
        error = (predict(row) - row.value) / row.value
        errors.setdefault((row.arch, _group(row)), []).append(error)
    return [
        Residual(arch, group, len(found), sum(map(abs, found)) / len(found), min(found), max(found))
        for (arch, group), found in errors.items()
    ]


def row_of(fields: Mapping[str, str]) -> Row:
    """A row of the table from its fields by name."""
    return Row(
        fields["arch"], fields["what"], int(fields["noc"]), fields["src"], fields["dst"],
        int(fields["transactions"]), int(fields["bytes"]), float(fields["value"]),
        fields["unit"], fields["source"],
    )  # fmt: skip


def _group(row: Row) -> str:
    if row.what in SETUPS:
        return f"{row.what}, NoC{row.noc}" if row.what.startswith("all from") else row.what
    dram = "DRAM " if "d0" in (row.src, row.dst) else ""
    return f"{dram}{row.what}, {'one' if row.transactions == 1 else 'many'}"


def _transfer(noc: Noc, row: Row) -> Transfer:
    src = place(noc, row.src, row.noc)
    if row.what == "multicast":
        corners = rectangle(noc, row.dst)
        return noc.multicast(src, corners, row.num_bytes, row.transactions, row.noc)
    move = {"read": noc.read, "write": noc.write}
    if row.what not in move:
        raise InvalidArgument(f"unknown measurement {row.what!r}")
    return move[row.what](
        src, place(noc, row.dst, row.noc), row.num_bytes, row.transactions, row.noc
    )


@cache
def _noc(arch: str) -> Noc:
    return Noc(load_product(PRODUCTS[arch]))


def _clocks(noc: Noc, ps: float) -> float:
    return ps * noc.spec.clock_hz / PS_PER_S


def _last(noc: Noc, transfers: list[Transfer]) -> float:
    return _clocks(noc, max(noc.together(transfers)))


def _gb_per_s(noc: Noc, transfers: list[Transfer]) -> float:
    total = sum(transfer.num_bytes for transfer in transfers)
    return total * PS_PER_S / max(noc.together(transfers)) / 1e9


def _from_own_bank(noc: Noc, row: Row) -> float:
    return _last(noc, all_from_dram(noc, row.num_bytes, row.transactions, row.noc))


def _from_all_banks(noc: Noc, row: Row) -> float:
    banks = noc.spec.dram_banks
    ports = [noc.floorplan.dram_port(bank, row.noc).noc0 for bank in range(banks)]
    return _last(
        noc,
        [
            noc.read(port, core.noc0, row.num_bytes, row.transactions // banks, row.noc)
            for core in noc.floorplan.worker_cores()
            for port in ports
        ],
    )


def _among(noc: Noc, row: Row, size: tuple[int, int]) -> float:
    """Every worker of a corner of the grid writes to each of them."""
    cores = [noc.floorplan.worker((x, y)).noc0 for y in range(size[1]) for x in range(size[0])]
    pairs = [(src, dst) for src in cores for dst in cores]
    return _last(
        noc, [noc.write(*pair, row.num_bytes, row.transactions, row.noc) for pair in pairs]
    )


def _adjacent(noc: Noc, row: Row) -> float:
    return _gb_per_s(noc, adjacent(noc, row.num_bytes, row.transactions, row.noc))


def _arbitrary(noc: Noc, row: Row) -> float:
    """The mean over placements of so many readers, spread over the banks."""
    found = [_gb_per_s(noc, placed) for placed in _placements(noc, row)]
    return sum(found) / len(found)


def _placements(noc: Noc, row: Row) -> Iterator[list[Transfer]]:
    """32 placements of readers, the same ones every time."""
    cores = [core.noc0 for core in noc.floorplan.worker_cores()]
    for seed in range(32):
        placed = random.Random(seed).sample(cores, int(row.dst))
        yield [
            noc.read(
                noc.floorplan.dram_port(i % noc.spec.dram_banks, row.noc).noc0,
                core, row.num_bytes, row.transactions, row.noc,
            )
            for i, core in enumerate(placed)
        ]  # fmt: skip


def _endpoint(noc: Noc, row: Row) -> float:
    """What the last of so many flows into one core takes more than a flow alone."""
    dst = noc.floorplan.worker((0, 0)).noc0
    flows = [
        noc.write(noc.floorplan.worker((i + 1, i + 1)).noc0, dst, row.num_bytes, 1, row.noc)
        for i in range(int(row.dst))
    ]
    return _last(noc, flows) - _last(noc, flows[:1])


def _one_more(noc: Noc, row: Row) -> float:
    """What a transaction adds to many."""
    move = noc.read if row.what == "one more read" else noc.write
    ends = (noc.floorplan.worker((1, 1)).noc0, noc.floorplan.worker((0, 0)).noc0)
    times = [move(*ends, row.num_bytes, n, row.noc).sim_latency_ps for n in (100, 101)]
    return _clocks(noc, times[1] - times[0])


SETUPS: Mapping[str, Callable[[Noc, Row], float]] = {
    "all from own bank": _from_own_bank,
    "all from all banks": _from_all_banks,
    "row to row": lambda noc, row: _among(noc, row, (noc.floorplan.workers[0], 1)),
    "square to square": lambda noc, row: _among(noc, row, (5, 5)),
    "adjacent readers": _adjacent,
    "arbitrary readers": _arbitrary,
    "more flows to one endpoint": _endpoint,
    "one more write": _one_more,
    "one more read": _one_more,
}
