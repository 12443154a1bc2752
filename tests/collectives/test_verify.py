"""The verifier proves the schedules that come with meshtwin, and finds planted bugs."""

from dataclasses import replace

import pytest

from meshtwin.collectives.algorithm import Layout, algorithms
from meshtwin.collectives.algorithms.direct import direct
from meshtwin.collectives.algorithms.ring import ring
from meshtwin.collectives.errors import AlgorithmError, CreditCycle, ScheduleError
from meshtwin.collectives.group import stand
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.schedule import Schedule, Step, StepKind
from meshtwin.collectives.verify import Proof, verify
from meshtwin.fabric.channels import Channel, channels
from meshtwin.fabric.topology import Box, boxes, load_box

LARGE = [box for box in boxes().values() if box.num_chips > 1]


@pytest.mark.parametrize("box", LARGE, ids=lambda box: box.name)
def test_every_algorithm_is_right_and_cannot_lock_up_on_any_box(box: Box) -> None:
    ranks = tuple(range(box.num_chips))
    proved = 0
    for known in algorithms().values():
        found = stand(box, ranks, known.layout)
        if found is None:
            assert known.layout in (Layout.RING, Layout.GRID)
            continue
        order, team = found
        for operation in known.operations:
            try:
                schedule = known.schedule(operation, team, len(ranks) // 2)
            except AlgorithmError:
                continue
            assert isinstance(verify(schedule, box, order), Proof)
            proved += 1
    assert proved > 10


def planted(schedule: Schedule, number: int, place: int, dst: int) -> Schedule:
    """The schedule with one step that goes elsewhere."""
    rounds = [list(steps) for steps in schedule.rounds]
    rounds[number][place] = replace(rounds[number][place], dst=dst)
    return replace(schedule, rounds=tuple(map(tuple, rounds)))


def test_a_ring_that_goes_the_wrong_way_round_is_found_and_said_so() -> None:
    box = load_box("loudbox")
    found = stand(box, tuple(range(8)), Layout.RING)
    assert found is not None
    right = ring.schedule(Operation.ALL_GATHER, found[1])
    wrong = replace(
        right,
        rounds=tuple(
            tuple(replace(step, dst=(step.src - 1) % 8) for step in steps) for steps in right.rounds
        ),
    )
    with pytest.raises(ScheduleError) as error:
        verify(wrong, box, found[0])
    assert "it would be right if every step went the other way round" in str(error.value)
    assert "round 0, position 0 to 7" in str(error.value)


def test_one_step_that_goes_the_wrong_way_is_named() -> None:
    box = load_box("loudbox")
    found = stand(box, tuple(range(8)), Layout.RING)
    assert found is not None
    wrong = planted(ring.schedule(Operation.REDUCE_SCATTER, found[1]), 3, 5, dst=4)
    with pytest.raises(ScheduleError) as error:
        verify(wrong, box, found[0])
    assert "if these steps went the other way round (round 3, position 5 to 4)" in str(error.value)


def one_channel(box: Box, route: tuple[int, ...]) -> tuple[Channel, ...]:
    return tuple((link, 0) for link, _ in channels(box, route))


def test_a_credit_cycle_is_found_when_wraps_have_no_channel_of_their_own() -> None:
    box = load_box("galaxy_torus_xy")
    ranks = tuple(range(box.num_chips))
    found = stand(box, ranks, Layout.RANK)
    assert found is not None
    schedule = direct.schedule(Operation.ALL_TO_ALL, found[1])
    assert verify(schedule, box, ranks).num_channels == 3  # one more for each of two wraps
    with pytest.raises(CreditCycle) as error:
        verify(schedule, box, ranks, one_channel)
    text = str(error.value)
    assert "direct all_to_all can lock up on galaxy_torus_xy: credits wait in a circle:" in text
    assert "->" in text and "waits for" in text


def test_a_mesh_without_wraps_needs_one_channel() -> None:
    box = load_box("galaxy")
    ranks = tuple(range(box.num_chips))
    found = stand(box, ranks, Layout.RANK)
    assert found is not None
    schedule = direct.schedule(Operation.ALL_TO_ALL, found[1])
    assert verify(schedule, box, ranks, one_channel).num_channels == 1


def test_a_schedule_of_nothing_but_a_wrong_chunk_gets_no_false_hint() -> None:
    box = load_box("p300")
    rounds = ((Step(0, 1, 1, StepKind.COPY),),)
    with pytest.raises(ScheduleError) as error:
        verify(Schedule(Operation.ALL_GATHER, "wrong", 2, 2, rounds), box, (0, 1))
    assert "the other way round" not in str(error.value)
