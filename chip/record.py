"""What a chip did: one record per op in simulated time, and totals per op name."""

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, final

if TYPE_CHECKING:
    from .cost.work import Work

Bound = Literal["compute", "dram", "dispatch", "fabric"]

DEFAULT_DEPTH = 65536  # records kept; totals count on
MOST_FACTS = 16384  # distinct (op, shapes) counted one by one before they are summed by name


class OpRecord(NamedTuple):
    """One op as it ran."""

    name: str
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]  # of the inputs, then of the outputs
    sim_start_ps: int
    sim_duration_ps: int
    bytes: int  # read and written
    flops: int
    bound: Bound  # what the time went into
    num_cores: int = 0  # that computed; 0: the fabric worked, not they
    fidelity_phases: int = 0  # of a product: 1 LoFi, 2 HiFi2, 3 HiFi3, 4 HiFi4; 0: no product
    group: tuple[int, ...] = ()  # the ranks of a collective; (src, dst) of a send or a recv

    @property
    def sim_end_ps(self) -> int:
        """When it was done."""
        return self.sim_start_ps + self.sim_duration_ps


@dataclass(frozen=True, slots=True)
class ChipRecords:
    """The ops of one chip, oldest first: of a run, or planned.

    Attributes:
        product: what the chip is, a name that `load_product` knows.
        num_dropped: older ops, for which the recorder had no room any more.
    """

    rank: int
    product: str
    records: tuple[OpRecord, ...]
    num_dropped: int = 0


@final
class OpFacts:
    """What is the same each time an op runs on these shapes: a record without its start.

    `work` is what its time was found from; None for a collective.
    """

    __slots__ = ("record", "work")

    def __init__(self, record: OpRecord, work: "Work | None" = None) -> None:
        self.record, self.work = record, work


@dataclass(frozen=True, slots=True)
class OpTotals:
    """Everything one op did since the recorder was cleared."""

    count: int = 0
    sim_duration_ps: int = 0
    bytes: int = 0
    flops: int = 0

    def plus(self, record: OpRecord, count: int) -> "OpTotals":
        """These totals and `count` runs of one record."""
        return OpTotals(
            self.count + count,
            self.sim_duration_ps + count * record.sim_duration_ps,
            self.bytes + count * record.bytes,
            self.flops + count * record.flops,
        )


class Recorder:
    """The last `depth` ops of a chip, and totals of all of them."""

    __slots__ = ("_counts", "_kept", "_totals", "enabled")

    def __init__(self, depth: int = DEFAULT_DEPTH, enabled: bool = True) -> None:
        self.enabled = enabled
        self._kept: deque[tuple[OpFacts, int]] = deque(maxlen=depth)
        self._counts: dict[OpFacts, int] = {}
        self._totals: dict[str, OpTotals] = {}

    def note(self, facts: OpFacts, sim_start_ps: int) -> None:
        """Record one run of a planned op (cheap: the record itself is made when somebody reads)."""
        if self.enabled:
            self._kept.append((facts, sim_start_ps))
            counts = self._counts
            counts[facts] = counts.get(facts, 0) + 1
            if len(counts) > MOST_FACTS:
                self._sum_up()

    def add(self, record: OpRecord) -> None:
        """Record something that is not planned per shape, such as a collective."""
        self.note(OpFacts(record), record.sim_start_ps)

    def last(self) -> object:
        """A mark of the op recorded last: another object after each one; None before the first."""
        return self._kept[-1] if self._kept else None

    def last_name(self) -> str:
        """The op recorded last, or "" when there is none."""
        return self._kept[-1][0].record.name if self._kept else ""

    def records(self) -> list[OpRecord]:
        """The ops kept, oldest first."""
        return [facts.record._replace(sim_start_ps=start) for facts, start in self._kept]

    @property
    def num_dropped(self) -> int:
        """Ops noted since the last `clear` of which no record is kept."""
        return sum(total.count for total in self.totals().values()) - len(self._kept)

    def take_back(self, mark: object) -> None:
        """Forget the ops noted after `mark`, which `last` gave: they never were."""
        while self._kept and self._kept[-1] is not mark:
            facts, _ = self._kept.pop()
            self._counts[facts] = self._counts.get(facts, 0) - 1

    def totals(self) -> dict[str, OpTotals]:
        """Totals by op name since the last `clear`, of ops no longer kept too."""
        self._sum_up()
        return dict(self._totals)

    def works(self) -> "list[tuple[OpRecord, Work | None]]":
        """The ops kept, oldest first, without their starts, each with its work."""
        return [(facts.record, facts.work) for facts, _ in self._kept]

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._counts.clear()
        self._totals.clear()

    def _sum_up(self) -> None:
        for facts, count in self._counts.items():
            name = facts.record.name
            self._totals[name] = self._totals.get(name, OpTotals()).plus(facts.record, count)
        self._counts.clear()
