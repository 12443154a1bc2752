"""Runs of a few chips to report on: made up, and yet as a mesh would have recorded them."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st

from meshtwin.chip.record import Bound, ChipRecords, OpRecord

PRODUCT = "p300c"
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter", "barrier")
few = settings(max_examples=40, deadline=None)
BOUNDS: tuple[Bound, ...] = ("compute", "dram", "dispatch")
OPS = ("linear", "add", "attention", "conjure")  # the last one is known to no tool


@dataclass
class Run:
    """Chips with clocks, that run ops alone and together."""

    num_chips: int
    records: list[list[OpRecord]] = field(default_factory=list)
    num_joins: int = 0

    def __post_init__(self) -> None:
        self.records = [[] for _ in range(self.num_chips)]

    @property
    def chips(self) -> list[ChipRecords]:
        return [ChipRecords(r, PRODUCT, tuple(own)) for r, own in enumerate(self.records)]

    def now_ps(self, rank: int) -> int:
        return self.records[rank][-1].sim_end_ps if self.records[rank] else 0

    def alone(self, rank: int, name: str, sim_ps: int, bound: Bound) -> None:
        shape, dtypes = (1, 40, 64), ("bfloat16",) * 3
        shapes = (shape, (96, 64) if name == "linear" else shape)
        out = (1, 40, 96) if name == "linear" else shape
        phases = 2 if name == "linear" else 0
        self.records[rank].append(
            OpRecord(
                name, shapes, (out,), dtypes, self.now_ps(rank), sim_ps, 900, 70, bound, 8, phases
            )
        )

    def together(self, name: str, group: tuple[int, ...], sim_ps: int) -> None:
        begin_ps = max(map(self.now_ps, group))
        for rank in group:
            start_ps = self.now_ps(rank)
            self.records[rank].append(_over_links(name, start_ps, begin_ps + sim_ps, group))
        self.num_joins += 1

    def message(self, src: int, dst: int, sim_ps: int) -> None:
        start_ps = self.now_ps(src)
        self.records[src].append(_over_links("send", start_ps, start_ps + sim_ps, (src, dst)))
        there_ps = max(self.now_ps(dst), start_ps + sim_ps)
        self.records[dst].append(_over_links("recv", self.now_ps(dst), there_ps, (src, dst)))
        self.num_joins += 1


def _over_links(name: str, start_ps: int, end_ps: int, group: tuple[int, ...]) -> OpRecord:
    shapes, dtypes = ((32, 64),), ("bfloat16",) * 2
    took_ps = end_ps - start_ps
    return OpRecord(name, shapes, shapes, dtypes, start_ps, took_ps, 4096, 0, "fabric", group=group)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Up to 25 steps of one to four chips."""
    run = Run(draw(st.integers(1, 4)))
    ranks = st.integers(0, run.num_chips - 1)
    times = st.integers(0, 5_000_000)
    for _ in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(("alone", "together", "message")))
        if kind == "alone" or run.num_chips == 1:
            bound = draw(st.sampled_from(BOUNDS))
            run.alone(draw(ranks), draw(st.sampled_from(OPS)), draw(times), bound)
            continue
        group = tuple(sorted(draw(st.sets(ranks, min_size=2))))
        if kind == "together":
            run.together(draw(st.sampled_from(COLLECTIVES)), group, draw(times))
        else:
            src, dst = draw(st.permutations(group))[:2]
            run.message(src, dst, draw(times))
    return run


def sample() -> Run:
    """Two chips, one of them late: a product each, a sum, a message to the one that waits."""
    run = Run(2)
    run.alone(0, "linear", 2_401_111, "compute")
    run.alone(1, "linear", 3_000_001, "dram")
    run.together("all_reduce", (0, 1), 17_605_414)
    run.alone(0, "add", 1_500_500, "dispatch")
    run.message(0, 1, 4_000_004)
    return run
