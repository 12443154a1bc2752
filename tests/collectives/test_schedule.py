"""Schedules on paper: every position ends with what its operation promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.collectives.algorithms.line import line_schedule
from meshtwin.collectives.algorithms.ring import ring_schedule
from meshtwin.collectives.errors import ScheduleError
from meshtwin.collectives.schedule import (
    Operation,
    Order,
    Schedule,
    Step,
    StepKind,
    leaves,
    left_fold,
)

MAKERS = {"ring": ring_schedule, "line": line_schedule}


@pytest.mark.parametrize("algorithm", MAKERS)
@given(
    operation=st.sampled_from(Operation),
    num_ranks=st.integers(1, 33),
    data=st.data(),
)
def test_every_position_ends_with_every_contribution_exactly_once(
    algorithm: str, operation: Operation, num_ranks: int, data: st.DataObject
) -> None:
    root = data.draw(st.integers(0, num_ranks - 1))
    schedule = MAKERS[algorithm](operation, num_ranks, root)
    assert len(schedule.contributions) == num_ranks


@given(num_ranks=st.integers(2, 32))
def test_a_ring_all_reduce_adds_each_chunk_in_ring_order_from_its_own_start(num_ranks: int) -> None:
    ends = ring_schedule(Operation.ALL_REDUCE, num_ranks).contributions
    for chunk in range(num_ranks):
        order = Order(tuple((chunk + 1 + step) % num_ranks for step in range(num_ranks)))
        assert {left_fold(end[chunk]) for end in ends} == {order}


@given(num_ranks=st.integers(2, 32))
def test_a_ring_sends_only_to_the_next_position_and_takes_the_known_number_of_rounds(
    num_ranks: int,
) -> None:
    schedule = ring_schedule(Operation.ALL_REDUCE, num_ranks)
    assert len(schedule.rounds) == 2 * (num_ranks - 1)
    for steps in schedule.rounds:
        assert sorted(step.src for step in steps) == list(range(num_ranks))
        assert all(step.dst == (step.src + 1) % num_ranks for step in steps)


@given(num_ranks=st.integers(2, 32), operation=st.sampled_from(Operation))
def test_a_line_never_sends_past_its_ends(num_ranks: int, operation: Operation) -> None:
    for steps in line_schedule(operation, num_ranks).rounds:
        assert all(abs(step.src - step.dst) == 1 for step in steps)


def test_a_line_adds_the_left_part_first_and_then_the_right_part() -> None:
    ends = line_schedule(Operation.REDUCE_SCATTER, 5).contributions
    assert ends[2][2] == ((4, 3), ((0, 1), 2))
    assert left_fold(ends[2][2]) is None
    assert leaves(ends[2][2]) == [4, 3, 0, 1, 2]


def test_a_step_that_sends_what_its_sender_lacks_is_refused() -> None:
    rounds = ((Step(0, 1, 1, StepKind.COPY),),)
    schedule = Schedule(Operation.ALL_GATHER, "wrong", 2, 2, rounds)
    with pytest.raises(ScheduleError, match="position 0 sends chunk 1, which it does not have"):
        _ = schedule.contributions


def test_a_schedule_that_adds_a_contribution_twice_is_refused() -> None:
    rounds = (
        (Step(0, 1, 0, StepKind.ADD), Step(1, 0, 1, StepKind.ADD)),
        (Step(0, 1, 0, StepKind.ADD), Step(1, 0, 1, StepKind.ADD)),
    )
    schedule = Schedule(Operation.REDUCE_SCATTER, "twice", 2, 2, rounds)
    with pytest.raises(ScheduleError, match="position 0 ends with chunk 0"):
        _ = schedule.contributions


def test_a_schedule_that_leaves_a_position_out_is_refused() -> None:
    schedule = Schedule(Operation.BROADCAST, "short", 3, 1, ((Step(0, 1, 0, StepKind.COPY),),))
    with pytest.raises(ScheduleError, match="position 2 ends with chunk 0 from positions"):
        _ = schedule.contributions
