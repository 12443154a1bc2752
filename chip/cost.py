"""How long an op takes on a chip, in simulated picoseconds: dispatch + start + max(compute, DRAM).

- dispatch: the gap between two ops of a trace.
- start: what any kernel takes before and after its work (waiting for semaphores, the first read,
  the last write).
- compute: tile operations, spread over as many cores as there are output tiles, at the clocks one
  tile operation needs.
- DRAM: bytes read and written (padded to tiles) at the share of the peak rate that plain
  interleaved kernels reach.

Compute and DRAM overlap (double buffering), hence the maximum. Not modelled: NoC contention, L1,
program size, how an op's work is cut over cores beyond "one output tile each". The constants are in
data/costs.toml with their sources.

Against measured bf16 matmuls on p150 (tt-metal tech_reports/GEMM_FLOPS/GEMM_FLOPS.md 06bd3735):
out of the box, DRAM, HiFi2 (the rows fitted): -28 % for the smallest, -15 .. +1 % for the others;
tuned, DRAM: -6 .. +7 % (HiFi2), +8 .. +15 % (HiFi4); operands in L1: -4 .. +57 %, for they are
charged as if they lay in DRAM. Wormhole, and ops other than matmul, have not been compared.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from .record import Bound
from .spec import ChipSpec, Constant, read_constants
from .units import PS_PER_S

WorkKind = Literal["matmul", "eltwise", "sfpu", "reduce", "move"]
WORK_KINDS: tuple[WorkKind, ...] = ("matmul", "eltwise", "sfpu", "reduce", "move")


@dataclass(frozen=True, slots=True)
class Work:
    """What an op asks of a chip, from shapes alone.

    num_tile_ops: tile operations of this kind: 32x32x32 products (matmul), binary ops on two tiles
        (eltwise), passes of the vector unit over a tile (sfpu), tiles reduced (reduce), tiles moved
        (move).
    num_parallel: independent pieces of work, at most one a core.
    fidelity_phases: passes of the multiplier (matmul): 1 LoFi, 2 HiFi2, 3 HiFi3, 4 HiFi4.
    """

    kind: WorkKind
    flops: int
    bytes_read: int
    bytes_written: int
    num_tile_ops: int
    num_parallel: int
    fidelity_phases: int = 1

    @property
    def bytes(self) -> int:
        """Read and written."""
        return self.bytes_read + self.bytes_written


class Cost(NamedTuple):
    """How long an op takes, and what the time goes into."""

    duration_ps: int
    bound: Bound


@cache
def constants() -> Mapping[str, Constant]:
    """The constants of the cost model, by name."""
    tables = tomllib.loads((files(__package__) / "data" / "costs.toml").read_text())
    return read_constants(tables, "costs.toml")


class CostModel:
    """Durations of ops on one chip: a pure function of (spec, changes, work).

    Args:
        changes: values of constants instead of those of data/costs.toml, by name.
    """

    def __init__(self, spec: ChipSpec, *, changes: Mapping[str, float] = {}) -> None:
        self.spec = spec
        self.constants: Mapping[str, Constant] = {
            name: replace(constant, value=changes.get(name, constant.value))
            for name, constant in constants().items()
        }
        value = {name: constant.value for name, constant in self.constants.items()}
        start_ps = value["kernel_start_clocks"] / spec.clock_hz * PS_PER_S
        self.dispatch_ps = round(value["dispatch_gap_us"] * 10**6 + start_ps)
        self.dram_bytes_per_s = spec.dram_bandwidth_bytes_per_s * value["dram_efficiency"]
        self._tile_clocks: dict[str, float] = {
            kind: value[f"{kind}_tile_clocks"] / value["compute_efficiency"] for kind in WORK_KINDS
        }
        self._costs: dict[Work, Cost] = {}

    def duration(self, work: Work) -> Cost:
        """The time of one op; bound "dispatch" when gap and start outweigh the work itself."""
        cost = self._costs.get(work)
        if cost is None:
            cost = self._costs[work] = self._cost(work)
        return cost

    def _cost(self, work: Work) -> Cost:
        compute_ps, dram_ps = self.compute_ps(work), self.dram_ps(work)
        busy_ps = max(compute_ps, dram_ps)
        bound: Bound = "compute" if compute_ps > dram_ps else "dram"
        if busy_ps < self.dispatch_ps:
            bound = "dispatch"
        return Cost(self.dispatch_ps + busy_ps, bound)

    def compute_ps(self, work: Work) -> int:
        """The time of the tile operations alone."""
        cores = max(1, min(self.spec.num_cores, work.num_parallel))
        clocks = work.num_tile_ops * work.fidelity_phases * self._tile_clocks[work.kind] / cores
        return round(clocks / self.spec.clock_hz * PS_PER_S)

    def dram_ps(self, work: Work) -> int:
        """The time of reading and writing DRAM alone."""
        return round(work.bytes / self.dram_bytes_per_s * PS_PER_S)
