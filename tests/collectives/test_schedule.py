"""Schedules on paper: what a step may do, and what positions must end with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.collectives.errors import ScheduleError
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.schedule import Schedule, Step, StepKind, Sum, leaves, same_sum

COPY, REDUCE = StepKind.COPY, StepKind.REDUCE


def refused(
    operation: Operation, *rounds: tuple[Step, ...], chunks: int = 2, ranks: int = 2
) -> str:
    """Why the schedule is wrong."""
    schedule = Schedule(operation, "planted", ranks, chunks, rounds)
    with pytest.raises(ScheduleError) as error:
        _ = schedule.contributions
    return str(error.value)


def test_a_step_that_sends_what_its_sender_lacks_names_round_positions_and_holders() -> None:
    text = refused(Operation.ALL_GATHER, (Step(0, 1, 1, COPY),))
    assert "planted all_gather: in round 0 position 0 sends chunk 1 to position 1" in text
    assert "position 0 does not have chunk 1 then (held by positions [1])" in text


def test_a_step_reads_the_state_before_its_round() -> None:
    steps = (Step(0, 1, 0, COPY), Step(1, 2, 0, COPY))
    assert "does not have chunk 0 then" in refused(Operation.BROADCAST, steps, chunks=1, ranks=3)


def test_a_contribution_that_is_added_twice_is_found() -> None:
    rounds = (Step(0, 1, 1, REDUCE), Step(1, 0, 0, REDUCE))
    text = refused(Operation.REDUCE_SCATTER, rounds, rounds)
    assert "position 0 ends with chunk 0 from positions [0, 1, 1], expected [0, 1]" in text


def test_a_position_that_is_left_out_is_found() -> None:
    text = refused(Operation.BROADCAST, (Step(0, 1, 0, COPY),), chunks=1, ranks=3)
    assert "position 2 ends with chunk 0 from positions [], expected [0]" in text


def test_adding_to_what_is_not_there_is_found() -> None:
    text = refused(Operation.ALL_GATHER, (Step(0, 1, 0, REDUCE),))
    assert "position 1 has no chunk 0 to add to" in text


def test_positions_and_chunks_that_do_not_exist_are_found() -> None:
    assert "positions are 0 to 1" in refused(Operation.ALL_GATHER, (Step(0, 2, 0, COPY),))
    assert "two different ones" in refused(Operation.ALL_GATHER, (Step(1, 1, 1, COPY),))
    assert "chunks are 0 to 1" in refused(Operation.ALL_GATHER, (Step(0, 1, 7, COPY),))


def test_sums_are_read_off_the_steps() -> None:
    rounds = ((Step(0, 1, 0, REDUCE),), (Step(1, 2, 0, REDUCE),))
    schedule = Schedule(Operation.REDUCE, "chain", 3, 1, rounds, root=2)
    assert schedule.contributions[2][0] == ((0, 1), 2)
    assert schedule.contributions[0] == {}


def test_adding_to_a_copy_is_noticed() -> None:
    rounds = ((Step(0, 1, 0, COPY),), (Step(2, 1, 0, REDUCE),))
    assert Schedule(Operation.REDUCE, "mixed", 3, 1, rounds).adds_to_copies
    assert not Schedule(Operation.REDUCE, "mixed", 3, 1, rounds[::-1]).adds_to_copies


def grown(order: list[int], cuts: list[int]) -> Sum:
    """A sum of these positions, in some nesting."""
    if len(order) == 1:
        return order[0]
    cut = 1 + cuts[0] % (len(order) - 1)
    return grown(order[:cut], cuts[1:]), grown(order[cut:], cuts[1:])


sums: st.SearchStrategy[Sum] = st.builds(
    grown, st.permutations(range(9)), st.lists(st.integers(0, 99), min_size=9, max_size=9)
)


def mirrored(value: Sum) -> Sum:
    return value if isinstance(value, int) else (mirrored(value[1]), mirrored(value[0]))


@given(sums)
def test_a_sum_is_the_same_with_its_sides_exchanged_and_has_the_same_leaves(value: Sum) -> None:
    assert same_sum(value, mirrored(value))
    assert leaves(mirrored(value)) == leaves(value)[::-1]


def test_sums_in_another_order_are_different() -> None:
    assert not same_sum(((0, 1), 2), (0, (1, 2)))
