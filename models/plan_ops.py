"""The ops of a pass, like ones together: where the time goes, and how near each is to a peak."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from ..chip.cost import constants
from ..chip.record import Bound, OpRecord
from ..chip.units import PS_PER_S
from ..mesh.program import MeshChip

PRODUCT_FLOPS_PER_CLOCK: Final = 2 * 32**3 // int(constants()["matmul_tile_clocks"].value)
"""Of a core at LoFi, multiplications and additions of a product of tiles; at HiFi4 a quarter."""


@dataclass(frozen=True, slots=True)
class Peaks:
    """What one chip could do at best.

    Attributes:
        dram_bytes_per_s: of its DRAM.
        flops_per_s: of products at LoFi, on all cores.
        link_bytes_per_s: payload that all its links to chips of the mesh send together.
    """

    dram_bytes_per_s: float
    flops_per_s: float
    link_bytes_per_s: float

    @classmethod
    def of(cls, chip: MeshChip) -> Self:
        """The peaks of a chip of a mesh."""
        spec, box = chip.spec, chip.box
        num_links = sum(edge.num_links for edge in box.edges if chip.rank in (edge.a, edge.b))
        return cls(
            spec.dram_bandwidth_bytes_per_s,
            spec.num_cores * spec.clock_hz * PRODUCT_FLOPS_PER_CLOCK,
            num_links * box.link.bytes_per_s,
        )


@dataclass(frozen=True, slots=True)
class OpRow:
    """All calls of an op on the same shapes and formats in a pass; sums over the calls.

    Attributes:
        operands: what it works on, in short: of a linear layer M x K x N and the weights' format,
            else the shape of the first input without leading ones.
        share: of the time of the pass, 0 to 1.
        bound: what most of its time went into.
        bytes: to and from DRAM; of a collective, sent by this chip.
        utilisation: of what bounds it: of the peak of products if "compute", of links if "fabric",
            else of DRAM; None where it moves nothing, or computes no products.
    """

    name: str
    operands: str
    count: int
    sim_duration_ps: int
    share: float
    bound: Bound
    bytes: int
    flops: int
    utilisation: float | None

    @property
    def sim_bytes_per_s(self) -> float:
        """Bytes over time."""
        return self.bytes / max(1, self.sim_duration_ps) * PS_PER_S

    @property
    def sim_flops_per_s(self) -> float:
        """Operations over time."""
        return self.flops / max(1, self.sim_duration_ps) * PS_PER_S


def op_rows(records: Iterable[OpRecord], peaks: Peaks) -> list[OpRow]:
    """The rows of a pass, the longest first; their times add up to that of the records."""
    alike: dict[tuple[object, ...], list[OpRecord]] = {}
    for record in records:
        key = (record.name, record.input_shapes, record.output_shapes, record.dtypes, record.group)
        alike.setdefault(key, []).append(record)
    total_ps = sum(record.sim_duration_ps for calls in alike.values() for record in calls)
    rows = [_row(calls, total_ps, peaks) for calls in alike.values()]
    return sorted(rows, key=lambda row: -row.sim_duration_ps)


def _row(calls: list[OpRecord], total_ps: int, peaks: Peaks) -> OpRow:
    sim_ps = sum(record.sim_duration_ps for record in calls)
    longest = max(calls, key=lambda record: record.sim_duration_ps)
    return OpRow(
        name=longest.name,
        operands=_operands(longest),
        count=len(calls),
        sim_duration_ps=sim_ps,
        share=sim_ps / max(1, total_ps),
        bound=longest.bound,
        bytes=sum(record.bytes for record in calls),
        flops=sum(record.flops for record in calls),
        utilisation=_utilisation(calls, longest, sim_ps / PS_PER_S, peaks),
    )


def _utilisation(
    calls: list[OpRecord], longest: OpRecord, sim_s: float, peaks: Peaks
) -> float | None:
    """The time that the work takes at the peak, over the time that it took."""
    if longest.bound == "compute":
        flops = sum(record.flops * record.fidelity_phases for record in calls)
        return flops / (peaks.flops_per_s * sim_s) if flops else None
    peak = peaks.link_bytes_per_s if longest.bound == "fabric" else peaks.dram_bytes_per_s
    num_bytes = sum(record.bytes for record in calls)
    return num_bytes / (peak * sim_s) if num_bytes else None


def _operands(record: OpRecord) -> str:
    first = record.input_shapes[0] if record.input_shapes else ()
    if record.name == "linear":
        columns, length = record.input_shapes[1]
        weights = record.dtypes[1].removesuffix("_b")
        return f"{math.prod(first[:-1])}x{length}x{columns} {weights}"
    kept = first
    while len(kept) > 1 and kept[0] == 1:
        kept = kept[1:]
    return "x".join(map(str, kept))
