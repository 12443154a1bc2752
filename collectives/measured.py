"""Measured collectives (data/collectives.csv), and the schedules and boxes that they ran on."""

import csv
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..chip.spec import Constant
from ..fabric.topology import Box, load_box
from .algorithm import Team
from .algorithms.bidirectional_ring import bidirectional_ring
from .algorithms.line import line
from .costs import CollectiveCosts
from .operation import Operation
from .schedule import Schedule
from .simulate import simulate

BOXES = {"blackhole": "galaxy", "wormhole_b0": "t3k"}
"""Where the rows were measured; the closed columns of a Galaxy are as any ring of its links."""


@dataclass(frozen=True, slots=True)
class Family:
    """What rows of a table share: all but the size (and where the operands lie)."""

    arch: str
    operation: Operation
    num_ranks: int
    topology: str

    def __str__(self) -> str:
        return f"{self.arch} {self.operation.value} {self.num_ranks} {self.topology}"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `total_bytes` is the gathered tensor, or that before the scatter."""

    family: Family
    memory: str
    links_per_direction: int
    line_rate_bytes_per_s: float
    packet_bytes: int
    total_bytes: int
    measured_us: float
    source: str

    def __str__(self) -> str:
        return f"{self.family}, {self.total_bytes} B ({self.memory})"


@cache
def load_rows() -> tuple[Row, ...]:
    """The rows of data/collectives.csv."""
    path = resources.files(__package__).joinpath("data/collectives.csv")
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(row_of(fields) for fields in csv.DictReader(lines))


def predict_us(row: Row, costs: CollectiveCosts) -> float:
    """The simulated time of a row, all chips entering at once, in microseconds."""
    family = row.family
    schedule = _schedule(family)
    wiring = (row.links_per_direction, row.line_rate_bytes_per_s, row.packet_bytes)
    box, order = _place(family, *wiring)
    chunks = tuple(_cut(row.total_bytes, schedule.num_chunks))
    timing = simulate(schedule, box, order, chunks, (0,) * family.num_ranks, costs)
    return max(timing.sim_exit_ps) / 1e6


def row_of(fields: Mapping[str, str]) -> Row:
    """A row of the table from its fields by name."""
    family = Family(
        fields["arch"], Operation(fields["op"]), int(fields["n_devices"]), fields["topology"]
    )
    return Row(
        family,
        fields["memory"],
        int(fields["links_per_direction"]),
        float(fields["line_rate_GBps_per_link_dir"]) * 1e9,
        int(fields["fabric_packet_B"]),
        int(fields["total_tensor_bytes"]),
        float(fields["kernel_time_us"]),
        f"{fields['source_repo']} {fields['source_path']} {fields['commit_or_run']}",
    )


def _schedule(family: Family) -> Schedule:
    """What the vendor's kernels do: both directions of a line, or half round a ring both ways."""
    algorithm = bidirectional_ring if family.topology == "ring" else line
    return algorithm.schedule(family.operation, Team(family.num_ranks, (1, family.num_ranks)))


@cache
def _place(
    family: Family, num_links: int, line_rate_bytes_per_s: float, packet_bytes: int
) -> tuple[Box, tuple[int, ...]]:
    """A box wired as the row says, and the chips of the group in order.

    Raises:
        ValueError: the box has no such line or ring.
    """
    box = load_box(BOXES[family.arch])
    order = (_ring if family.topology == "ring" else _line)(box, family.num_ranks)
    if order is None or len(order) != family.num_ranks:
        raise ValueError(f"{box.name} has no {family.topology} of {family.num_ranks} chips")
    link = dataclasses.replace(
        box.link,
        line_rate=_as_measured(line_rate_bytes_per_s, "bytes/s"),
        packet_payload=_as_measured(packet_bytes, "bytes"),
    )
    edges = tuple(dataclasses.replace(edge, num_links=num_links) for edge in box.edges)
    return dataclasses.replace(box, link=link, edges=edges), order


def _ring(box: Box, num_ranks: int) -> tuple[int, ...] | None:
    """Round a block of two rows, or round the whole box."""
    columns = box.shape[1]
    block = [row * columns + column for row in (0, 1) for column in range(num_ranks // 2)]
    return box.ring(block if num_ranks <= 2 * columns else range(box.num_chips))


def _line(box: Box, num_ranks: int) -> tuple[int, ...]:
    """Along the first row or column that is long enough, or winding through the box."""
    groups = (box.axis_groups(1)[0], box.axis_groups(0)[0], tuple(range(box.num_chips)))
    fits = next((group for group in groups if len(group) >= num_ranks), groups[-1])
    return box.line(fits)[:num_ranks]


def _as_measured(value: float, unit: str) -> Constant:
    return Constant(value, unit, "documented", "the row's own columns")


def _cut(total_bytes: int, num_chunks: int) -> list[int]:
    each, rest = divmod(total_bytes, num_chunks)
    return [each + (chunk < rest) for chunk in range(num_chunks)]
