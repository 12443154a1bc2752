"""Both ways round a ring: who ends with what, and over how many rounds and links."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.collectives.algorithm import Team
from meshtwin.collectives.algorithms.bidirectional_ring import bidirectional_ring
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.schedule import Schedule, StepKind

RANKS = st.integers(1, 12)


def ends(
    schedule: Schedule, starts: list[dict[int, Counter[int]]]
) -> list[dict[int, Counter[int]]]:
    """By position and chunk, whose values were added and how often."""
    for steps in schedule.rounds:
        before = [dict(chunks) for chunks in starts]
        for step in steps:
            value = before[step.src][step.chunk]
            if step.kind is not StepKind.COPY:
                value = value + starts[step.dst][step.chunk]
            starts[step.dst][step.chunk] = value
    return starts


@given(num_ranks=RANKS)
def test_all_gather_brings_every_piece_everywhere(num_ranks: int) -> None:
    schedule = bidirectional_ring.schedule(Operation.ALL_GATHER, Team(num_ranks, (1, num_ranks)))
    starts = [{2 * p + piece: Counter([p]) for piece in (0, 1)} for p in range(num_ranks)]
    for chunks in ends(schedule, starts):
        assert chunks == {chunk: Counter([chunk // 2]) for chunk in range(2 * num_ranks)}


@given(num_ranks=RANKS, operation=st.sampled_from([Operation.REDUCE_SCATTER, Operation.ALL_REDUCE]))
def test_sums_hold_every_contribution_exactly_once(num_ranks: int, operation: Operation) -> None:
    schedule = bidirectional_ring.schedule(operation, Team(num_ranks, (1, num_ranks)))
    starts = [{c: Counter([p]) for c in range(2 * num_ranks)} for p in range(num_ranks)]
    for position, chunks in enumerate(ends(schedule, starts)):
        for chunk, added in chunks.items():
            if operation is Operation.ALL_REDUCE or chunk // 2 == position:
                assert added == Counter(range(num_ranks))


@given(num_ranks=RANKS, data=st.data())
def test_a_broadcast_reaches_everyone(num_ranks: int, data: st.DataObject) -> None:
    root = data.draw(st.integers(0, num_ranks - 1))
    schedule = bidirectional_ring.schedule(
        Operation.BROADCAST, Team(num_ranks, (1, num_ranks)), root
    )
    starts: list[dict[int, Counter[int]]] = [{} for _ in range(num_ranks)]
    starts[root] = {chunk: Counter([root]) for chunk in range(schedule.num_chunks)}
    for chunks in ends(schedule, starts):
        assert len(chunks) == schedule.num_chunks


@given(num_ranks=st.integers(3, 12), gathers=st.booleans())
def test_both_directions_carry_as_much_in_half_as_many_rounds(
    num_ranks: int, gathers: bool
) -> None:
    operation = Operation.ALL_GATHER if gathers else Operation.REDUCE_SCATTER
    schedule = bidirectional_ring.schedule(operation, Team(num_ranks, (1, num_ranks)))
    assert len(schedule.rounds) == num_ranks // 2
    carried = Counter((step.src, step.dst) for steps in schedule.rounds for step in steps)
    assert set(carried.values()) == {num_ranks - 1}
