"""Sets of transfers that come up often: who sends what to whom at the same time."""

from collections.abc import Callable, Mapping

from ..errors import InvalidArgument, did_you_mean, nearest_name
from ..grid import Xy
from .noc import Noc
from .transfer import Transfer


def all_from_dram(noc: Noc, num_bytes: int, transactions: int, index: int) -> list[Transfer]:
    """Every worker reads from a bank, the i-th from bank i modulo the number of banks."""
    pairs = _cores_and_ports(noc, index)
    return [noc.read(port, core, num_bytes, transactions, index) for core, port in pairs]


def all_to_dram(noc: Noc, num_bytes: int, transactions: int, index: int) -> list[Transfer]:
    """Every worker writes to a bank, the i-th to bank i modulo the number of banks."""
    pairs = _cores_and_ports(noc, index)
    return [noc.write(core, port, num_bytes, transactions, index) for core, port in pairs]


def adjacent(noc: Noc, num_bytes: int, transactions: int, index: int) -> list[Transfer]:
    """One worker for each bank, the nearest one downstream, reads from it."""
    banks = range(noc.spec.dram_banks)
    pairs = [
        (noc.floorplan.dram_port(bank, index).noc0, noc.adjacent_worker(bank, index).noc0)
        for bank in banks
    ]
    return [noc.read(port, core, num_bytes, transactions, index) for port, core in pairs]


def row(noc: Noc, num_bytes: int, transactions: int, index: int) -> list[Transfer]:
    """The first worker of each row multicasts to its row, as a matmul does with its inputs."""
    columns, rows = noc.floorplan.workers
    lines = [[noc.floorplan.worker((x, y)).noc0 for x in (0, columns - 1)] for y in range(rows)]
    return [noc.multicast(a, (a, b), num_bytes, transactions, index) for a, b in lines]


def column(noc: Noc, num_bytes: int, transactions: int, index: int) -> list[Transfer]:
    """The first worker of each column multicasts to its column, as a matmul does with weights."""
    columns, rows = noc.floorplan.workers
    lines = [[noc.floorplan.worker((x, y)).noc0 for y in (0, rows - 1)] for x in range(columns)]
    return [noc.multicast(a, (a, b), num_bytes, transactions, index) for a, b in lines]


def shift(noc: Noc, num_bytes: int, transactions: int, index: int) -> list[Transfer]:
    """Every worker writes to the next one of its row, the last one to the first."""
    columns, _ = noc.floorplan.workers
    found = []
    for core in noc.floorplan.worker_cores():
        x, y = core.logical or (0, 0)
        dst = noc.floorplan.worker(((x + 1) % columns, y)).noc0
        found.append(noc.write(core.noc0, dst, num_bytes, transactions, index))
    return found


def _cores_and_ports(noc: Noc, index: int) -> list[tuple[Xy, Xy]]:
    """Every worker with the port of its bank."""
    banks = noc.spec.dram_banks
    return [
        (core.noc0, noc.floorplan.dram_port(i % banks, index).noc0)
        for i, core in enumerate(noc.floorplan.worker_cores())
    ]


PATTERNS: Mapping[str, Callable[[Noc, int, int, int], list[Transfer]]] = {
    "all-from-dram": all_from_dram,
    "all-to-dram": all_to_dram,
    "adjacent": adjacent,
    "row": row,
    "column": column,
    "shift": shift,
}


def pattern(
    noc: Noc, name: str, num_bytes: int, transactions: int = 1, index: int = 0
) -> list[Transfer]:
    """The transfers of a pattern, each of so many transactions of so many bytes, on NoC `index`.

    Raises:
        InvalidArgument: there is no such pattern; the nearest one is named.
    """
    if name not in PATTERNS:
        hint = did_you_mean(nearest_name(name, list(PATTERNS)))
        raise InvalidArgument(f"unknown pattern {name!r}{hint} Known: {', '.join(PATTERNS)}.")
    return PATTERNS[name](noc, num_bytes, transactions, index)
