"""How long an op takes on a chip, in simulated picoseconds: gap + start + its work.

- gap: between two ops of a trace; an op that is not traced takes at least what the host needs to
  dispatch it.
- start: what a kernel takes before and after its work. A stack (a generation of the software) may
  have a longer one, and reshards around the products of a decode step.
- work: the longest of three, which overlap: computing on the cores that have some, moving tiles in
  and out of those cores, and the DRAM's bandwidth. Tensors in L1 use neither of the last two.
  A row-wise op has a core for each row of tiles; a single row, as in a decode step, is cut over
  cores by the stacks that do so.
- matrix products have rules of their own, by placement: product.py.

Not modelled: contention on the NoC between cores, the size of programs, throttling. Constants and
sources: data/costs.toml and data/stacks.toml; how near they come: docs/accuracy.md.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ..record import Bound
from ..spec import ChipSpec
from ..units import PS_PER_US
from .constants import DEFAULT_STACK, changed, constants
from .product import decode_product, prefill_product
from .work import WORK_KINDS, Work

NO_CHANGES: Mapping[str, float] = MappingProxyType({})


CUT_BY_COLUMNS: Final = ("eltwise", "move")
"""Kinds of which a stack may cut one row of tiles over cores: what a tile asks does not depend on
its neighbours, or only through a sum, as in a norm. A sort's does."""


class Cost(NamedTuple):
    """How long an op takes, and what the time goes into."""

    duration_ps: int
    bound: Bound


class CostModel:
    """Durations of ops on one chip: a pure function of work, for a chip and a stack.

    Args:
        stack: the generation of the software: see `stacks`.
        changes: constants replaced by name, in their units.
    Raises:
        InvalidArgument: no such stack or constant, or a value below 0.
    """

    def __init__(
        self,
        spec: ChipSpec,
        stack: str = DEFAULT_STACK,
        changes: Mapping[str, float] = NO_CHANGES,
    ) -> None:
        self.spec, self.stack = spec, stack
        self.constants = changed(constants(spec.arch, stack), changes)
        self.value = value = {name: float(c.value) for name, c in self.constants.items()}
        self.clock_us = spec.clock_hz / 10**6  # clocks in a microsecond
        self.peak = spec.dram_bandwidth_bytes_per_s / 10**6  # bytes in a microsecond
        self.gap_us = value["dispatch_gap_us"]
        self.start_us = value["kernel_start_clocks"] / self.clock_us + value["op_start_us"]
        self.dispatch_ps = round((self.gap_us + self.start_us) * PS_PER_US)
        self.host_us = value["host_op_us"]
        self._dram_rate = self.peak * value["dram_efficiency"]
        self._kv_rate = self.peak * value["kv_efficiency"]
        self._core_rate = value["core_bytes_per_clock"] * self.clock_us
        self._row_cores = round(value["row_cores"])
        self._tile_us = {
            kind: value[f"{kind}_tile_clocks"] / value["compute_efficiency"] / self.clock_us
            for kind in WORK_KINDS
        }
        self._costs: dict[tuple[Work, bool], Cost] = {}

    def duration(self, work: Work, is_traced: bool = True) -> Cost:
        """The time of one op; bound "dispatch" when all else is less than getting it started.

        Args:
            is_traced: it is one of a trace that the chip replays, or else dispatched by the host.
        """
        cost = self._costs.get((work, is_traced))
        if cost is None:
            cost = self._costs[work, is_traced] = self._cost(work, is_traced)
        return cost

    def _cost(self, work: Work, is_traced: bool) -> Cost:
        begin_us, compute_us, dram_us, busy_us = self._parts(work)
        begin_us += self.gap_us
        total_us = begin_us + busy_us
        if not is_traced and self.host_us > total_us:
            return Cost(round(self.host_us * PS_PER_US), "dispatch")
        bound: Bound = "compute" if compute_us > dram_us else "dram"
        return Cost(round(total_us * PS_PER_US), "dispatch" if busy_us < begin_us else bound)

    def _parts(self, work: Work) -> tuple[float, float, float, float]:
        """Start, computing, DRAM, and how long the last two take together, in microseconds."""
        if work.product is not None:
            cut = decode_product if work.product.m_tiles == 1 else prefill_product
            return cut(self, work.product, work.fidelity_phases)
        compute_us = max(self.compute_us(work), self.move_us(work))
        dram_us = self.dram_us(work)
        return self.start_us, compute_us, dram_us, max(compute_us, dram_us) + self._kv_us(work)

    def compute_us(self, work: Work) -> float:
        """The time of the tile operations alone."""
        clocks = work.num_tile_ops * work.fidelity_phases
        return clocks * self._tile_us[work.kind] / self.cores(work)

    def move_us(self, work: Work) -> float:
        """The time of moving tiles between DRAM and the cores that take part."""
        return work.dram_bytes / self._core_rate / self.cores(work)

    def dram_us(self, work: Work) -> float:
        """The time of reading and writing DRAM alone."""
        rate = self._kv_rate if work.kv_positions else self._dram_rate
        return work.dram_bytes / rate

    def _kv_us(self, work: Work) -> float:
        return work.kv_positions * self.value["kv_position_ns"] / 1000

    def cores(self, work: Work) -> int:
        """How many cores have some of the work; a product's at most, see product.py."""
        parallel = work.num_parallel
        if parallel <= 1 and work.kind in CUT_BY_COLUMNS:
            parallel = min(self._row_cores, work.num_tile_ops)
        return max(1, min(self.spec.num_cores, parallel))
