"""What a plan finds on one chip: a pass with its ops and its time, and the memory that it takes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from ..chip.record import Bound, OpRecord
from ..chip.units import PS_PER_S

BOUNDS: Final[tuple[Bound, ...]] = get_args(Bound)


@dataclass(frozen=True, slots=True)
class Phase:
    """A prefill or a decode step on one chip: the ops in order, and how long all of it takes."""

    records: tuple[OpRecord, ...]
    sim_ps: int

    @property
    def sim_s(self) -> float:
        """Simulated seconds."""
        return self.sim_ps / PS_PER_S

    @property
    def shares(self) -> Mapping[Bound, float]:
        """What the time went into: each bound's part of it, 0 to 1."""
        sums: Counter[Bound] = Counter()
        for record in self.records:
            sums[record.bound] += record.sim_duration_ps
        return {bound: sums[bound] / max(1, self.sim_ps) for bound in BOUNDS}


@dataclass(frozen=True, slots=True)
class PlannedMemory:
    """What a replica takes of each of its chips, all users' caches allotted; bytes.

    Attributes:
        dram_capacity_bytes: what tensors can use.
        weight_bytes: of the weights; cache_bytes: of keys and values, with the rotary tables.
        activation_bytes: the most that all else took at once, in a prefill or a decode step.
        l1_capacity_bytes: of one core, what tensors and circular buffers can use.
        l1_tensor_bytes: the most that tensors took of a core.
        l1_circular_bytes: the largest circular buffers of an op, in a core; l1_op: that op.
    """

    dram_capacity_bytes: int
    weight_bytes: int
    cache_bytes: int
    activation_bytes: int
    l1_capacity_bytes: int
    l1_tensor_bytes: int
    l1_circular_bytes: int
    l1_op: str

    @property
    def dram_peak_bytes(self) -> int:
        """The most that was taken of the DRAM at once."""
        return self.weight_bytes + self.cache_bytes + self.activation_bytes

    @property
    def l1_peak_bytes(self) -> int:
        """The most of a core's L1: tensors and circular buffers, were both largest at once."""
        return self.l1_tensor_bytes + self.l1_circular_bytes


def total_ps(records: Iterable[OpRecord]) -> int:
    """The sum of the ops' simulated times."""
    return sum(record.sim_duration_ps for record in records)
