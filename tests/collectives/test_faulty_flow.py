"""Collectives under faults, against arithmetic done by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.collectives.algorithm import Team
from meshtwin.collectives.algorithms.ring import ring
from meshtwin.collectives.costs import load_costs
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.simulate import Timing, simulate
from meshtwin.fabric.errors import LinkDown
from meshtwin.fabric.fault_events import (
    ChipStall,
    Event,
    LinkCut,
    LinkFlaky,
    LinkRetrain,
    LinkSlow,
)
from meshtwin.fabric.faults import MAX_ATTEMPTS, FaultPlan, Policy
from meshtwin.fabric.topology import load_box

COSTS = load_costs()
BOX = load_box("quietbox2")
RING = (0, 1, 3, 2)
SIZE = 1 << 20
TRANSFER = BOX.link.transfer_ps(SIZE, 2)


def all_gather(*events: Event, policy: Policy = "strict", seed: int = 0) -> Timing:
    schedule = ring.schedule(Operation.ALL_GATHER, Team(4, (1, 4)))
    plan = FaultPlan(events, seed, policy)
    plan.check(BOX)
    return simulate(schedule, BOX, RING, (SIZE,) * 4, (0,) * 4, COSTS, plan)


WHOLE = all_gather()
BEGIN = WHOLE.messages[0].sim_start_ps
END = max(WHOLE.sim_exit_ps)


@pytest.mark.parametrize(
    "event",
    [
        LinkCut((0, 1), at_ps=10 * END),
        LinkSlow((0, 1), 1.0),
        LinkFlaky((0, 1)),
        LinkRetrain((0, 1), 10 * END, 1),
        ChipStall(0, 10 * END, None),
    ],
)
def test_faults_that_never_bite_change_nothing(event: Event) -> None:
    assert all_gather(event) == WHOLE


def test_a_cut_link_is_named_with_the_time_and_the_message_that_needed_it() -> None:
    with pytest.raises(LinkDown) as caught:
        all_gather(LinkCut((0, 1)))
    assert caught.value.link == (0, 1)
    assert caught.value.sim_ps == BEGIN
    assert "chip 0 for chip 1 (ring all_gather, chunk 0)" in str(caught.value)


def test_what_started_before_the_cut_still_arrives() -> None:
    with pytest.raises(LinkDown) as caught:
        all_gather(LinkCut((0, 1), at_ps=BEGIN + 1))
    assert caught.value.sim_ps == WHOLE.messages[4].sim_start_ps


def test_messages_go_round_a_cut_link_and_take_longer() -> None:
    timing = all_gather(LinkCut((0, 1)), policy="reroute")
    around = [message for message in timing.messages if (message.src, message.dst) == (0, 1)]
    assert {message.route for message in around} == {(0, 2, 3, 1)}
    assert (0, 1) not in timing.traffic[0]
    assert max(timing.sim_exit_ps) > END


def test_no_way_round_is_a_link_down_too() -> None:
    with pytest.raises(LinkDown):
        all_gather(LinkCut((0, 1)), LinkCut((0, 2)), policy="reroute")


def test_a_slow_link_takes_its_factor_longer() -> None:
    timing = all_gather(LinkSlow((0, 1), 3.0))
    first = timing.messages[0]
    assert first.sim_arrival_ps - first.sim_start_ps == 3 * TRANSFER + BOX.link.latency_ps(1)
    assert timing.messages[1] == WHOLE.messages[1]


def test_a_flaky_link_pays_a_round_trip_and_the_packet_for_each_retry() -> None:
    event = LinkFlaky((0, 1), drop=0.1)
    plan = FaultPlan((event,), seed=5)
    packet = int(BOX.link.packet_payload.value)
    retries = plan.retries((0, 1), 0, -(-SIZE // packet))
    assert retries
    again = 2 * BOX.link.latency_ps(1) + BOX.link.transfer_ps(packet, 2)
    first = all_gather(event, seed=5).messages[0]
    took = first.sim_arrival_ps - first.sim_start_ps
    assert took == TRANSFER + retries * again + BOX.link.latency_ps(1)


def test_messages_are_numbered_on_from_where_the_run_is() -> None:
    schedule = ring.schedule(Operation.ALL_GATHER, Team(4, (1, 4)))
    plan = FaultPlan((LinkFlaky((0, 1), drop=0.1),))
    ends = [
        simulate(schedule, BOX, RING, (SIZE,) * 4, (0,) * 4, COSTS, plan, (first,) * 4)
        for first in (0, 3)
    ]
    assert ends[0] != ends[1]


def test_a_link_that_wears_out_counts_as_down() -> None:
    event = LinkFlaky((0, 1), drop=1.0)
    with pytest.raises(LinkDown) as caught:
        all_gather(event)
    again = 2 * BOX.link.latency_ps(1)
    assert caught.value.sim_ps > BEGIN + MAX_ATTEMPTS * again
    timing = all_gather(event, policy="reroute")
    assert timing.messages[0].route == (0, 2, 3, 1)
    assert timing.messages[0].sim_start_ps >= caught.value.sim_ps


def test_what_needs_a_retraining_link_waits_and_what_is_on_it_pauses() -> None:
    before = all_gather(LinkRetrain((0, 1), BEGIN - 5, 1005))
    assert before.messages[0].sim_start_ps == BEGIN + 1000
    during = all_gather(LinkRetrain((0, 1), BEGIN + 5, 1000))
    assert during.messages[0].sim_start_ps == BEGIN
    assert during.messages[0].sim_arrival_ps == WHOLE.messages[0].sim_arrival_ps + 1000


def test_a_chip_stalled_at_the_start_makes_everybody_wait() -> None:
    timing = all_gather(ChipStall(3, 0, 7_000_000))
    assert timing.sim_exit_ps == tuple(ps + 7_000_000 for ps in WHOLE.sim_exit_ps)


def test_a_chip_that_stalls_in_the_middle_takes_nothing_in_meanwhile() -> None:
    timing = all_gather(ChipStall(1, END - 1, 1000))
    assert timing.sim_exit_ps[1] == END + 999


@given(
    drop=st.floats(0, 0.3),
    factor=st.floats(1, 4),
    cut_ps=st.integers(0, 2 * END),
    seed=st.integers(0, 1000),
)
def test_faults_never_make_a_ring_faster_and_equal_plans_give_equal_times(
    drop: float, factor: float, cut_ps: int, seed: int
) -> None:
    events = (LinkFlaky((0, 1), drop), LinkSlow((1, 3), factor), LinkCut((2, 3), cut_ps))
    first, second = (all_gather(*events, policy="reroute", seed=seed) for _ in range(2))
    assert first == second
    assert max(first.sim_exit_ps) >= END
