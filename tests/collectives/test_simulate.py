"""Simulated time of schedules, against arithmetic done by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.spec import Constant
from meshtwin.chip.units import PS_PER_US
from meshtwin.collectives.algorithm import Team
from meshtwin.collectives.algorithms.bidirectional_ring import bidirectional_ring
from meshtwin.collectives.algorithms.line import line
from meshtwin.collectives.algorithms.ring import ring
from meshtwin.collectives.call import Call
from meshtwin.collectives.choose import plan_of
from meshtwin.collectives.costs import costs_of, load_costs
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.schedule import Schedule, Step, StepKind
from meshtwin.collectives.simulate import Timing, simulate
from meshtwin.fabric.fault_events import LinkSlow
from meshtwin.fabric.faults import FaultPlan
from meshtwin.fabric.topology import Box, Edge, load_box

COSTS = load_costs()
QUIETBOX2 = load_box("quietbox2")
GALAXY = load_box("galaxy")
RING = (0, 1, 3, 2)
START_PS = COSTS.startup_ps + QUIETBOX2.link.latency_ps(3)
"""Start-up, and the news of it down three hops."""
MAKERS = {
    "ring": ring,
    "line": line,
    "bidirectional ring": bidirectional_ring,
}


def all_gather(box: Box, chunk_bytes: int, entry: tuple[int, ...] = (0, 0, 0, 0)) -> Timing:
    schedule = ring.schedule(Operation.ALL_GATHER, Team(4, (1, 4)))
    return simulate(schedule, box, RING, (chunk_bytes,) * 4, entry, COSTS)


def step_ps(size: int, num_links: int = 2) -> int:
    link = QUIETBOX2.link
    return COSTS.step_overhead_ps + link.latency_ps(1) + link.transfer_ps(size, num_links)


def with_rate(box: Box, factor: float) -> Box:
    link = box.link
    return replace(
        box,
        link=replace(
            link,
            line_rate=Constant(link.line_rate.value * factor, "bytes/s", "inferred", "test"),
            packet_rate=Constant(link.packet_rate.value * factor, "packets/s", "inferred", "test"),
        ),
    )


def sends(*rounds: tuple[tuple[int, int, int], ...], num_ranks: int = 4) -> Schedule:
    """A broadcast whose rounds copy (src, dst, chunk)."""
    steps = tuple(tuple(Step(*step, StepKind.COPY) for step in listed) for listed in rounds)
    return Schedule(Operation.BROADCAST, "by hand", num_ranks, num_ranks, steps)


def test_a_ring_all_gather_takes_start_up_and_three_equal_steps() -> None:
    size = 1 << 20
    expected = START_PS + 3 * step_ps(size)
    assert all_gather(QUIETBOX2, size).sim_exit_ps == (expected,) * 4


def test_a_small_all_gather_waits_for_nothing_but_its_steps() -> None:
    assert all_gather(QUIETBOX2, 64).sim_exit_ps == (START_PS + 3 * step_ps(64),) * 4


def test_two_chips_copy_their_own_chunk_after_sending_it() -> None:
    size = 1 << 17
    schedule = line.schedule(Operation.ALL_GATHER, Team(2, (1, 2)))
    timing = simulate(schedule, GALAXY, (0, 4), (size, size), (0, 0), COSTS)
    sent = COSTS.step_overhead_ps + GALAXY.link.transfer_ps(size, 2)
    begin = COSTS.startup_ps + GALAXY.link.latency_ps(1)
    assert timing.sim_exit_ps == (begin + sent + COSTS.copy_ps(size, 2),) * 2


def test_an_all_reduce_starts_up_twice_and_writes_its_sums() -> None:
    size = 1 << 20
    schedule = ring.schedule(Operation.ALL_REDUCE, Team(4, (1, 4)))
    timing = simulate(schedule, QUIETBOX2, RING, (size,) * 4, (0,) * 4, COSTS)
    adding = 2 * COSTS.reduce_ps(size, 2, forwards=True) + COSTS.reduce_ps(size, 2)
    assert timing.sim_exit_ps == (2 * START_PS + 6 * step_ps(size) + adding,) * 4


def test_halving_the_link_rate_doubles_the_transfer_and_nothing_else() -> None:
    size = 1 << 24
    fast, slow = (all_gather(box, size) for box in (QUIETBOX2, with_rate(QUIETBOX2, 0.5)))
    transfer = 3 * QUIETBOX2.link.transfer_ps(size, 2)
    assert abs((slow.sim_exit_ps[0] - fast.sim_exit_ps[0]) - transfer) <= transfer * 1e-6


def test_taking_one_of_two_links_away_doubles_the_transfer_over_that_edge() -> None:
    edges = tuple(
        replace(edge, num_links=1) if edge.a == 0 and edge.b == 1 else edge
        for edge in QUIETBOX2.edges
    )
    thin = replace(QUIETBOX2, name="thin", edges=edges)
    size = 1 << 24
    one, two = (QUIETBOX2.link.transfer_ps(size, links) for links in (1, 2))
    ends = [max(all_gather(box, size).sim_exit_ps) for box in (QUIETBOX2, thin)]
    latencies = 3 * (COSTS.step_overhead_ps + QUIETBOX2.link.latency_ps(1))
    assert ends[1] - ends[0] >= 3 * (one - two) - latencies
    assert ends[1] - ends[0] <= 3 * (one - two)


def test_a_large_all_gather_takes_about_twice_as_long_on_a_line_as_both_ways_round() -> None:
    size = 1 << 24
    on_line = simulate(
        line.schedule(Operation.ALL_GATHER, Team(4, (1, 4))),
        QUIETBOX2,
        RING,
        (size,) * 4,
        (0,) * 4,
        COSTS,
    )
    schedule = bidirectional_ring.schedule(Operation.ALL_GATHER, Team(4, (1, 4)))
    on_ring = simulate(schedule, QUIETBOX2, RING, (size // 2,) * 8, (0,) * 4, COSTS)
    assert max(on_line.sim_exit_ps) / max(on_ring.sim_exit_ps) == pytest.approx(2, rel=0.01)


def test_a_chip_that_comes_late_delays_all_by_as_much() -> None:
    even = all_gather(QUIETBOX2, 4096).sim_exit_ps
    late = all_gather(QUIETBOX2, 4096, (0, 0, 5_000_000, 0)).sim_exit_ps
    assert [after - before for before, after in zip(even, late, strict=True)] == [5_000_000] * 4


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4), st.integers(0, 10**12))
def test_times_only_shift_when_everybody_comes_later(entry: list[int], shift: int) -> None:
    first = all_gather(QUIETBOX2, 1000, tuple(entry)).sim_exit_ps
    second = all_gather(QUIETBOX2, 1000, tuple(e + shift for e in entry)).sim_exit_ps
    assert tuple(ps + shift for ps in first) == second


@given(
    maker=st.sampled_from(sorted(MAKERS)),
    operation=st.sampled_from([Operation.ALL_REDUCE, Operation.ALL_GATHER, Operation.BROADCAST]),
    sizes=st.lists(st.integers(0, 1 << 20), min_size=8, max_size=8),
)
def test_two_equal_runs_are_equal_and_in_whole_picoseconds(
    maker: str, operation: Operation, sizes: list[int]
) -> None:
    schedule = MAKERS[maker].schedule(operation, Team(4, (1, 4)))
    chunks = tuple(sizes[: schedule.num_chunks])
    runs = [simulate(schedule, QUIETBOX2, RING, chunks, (0,) * 4, COSTS) for _ in range(2)]
    assert runs[0] == runs[1]
    assert all(type(ps) is int for ps in runs[0].sim_exit_ps)


def test_messages_that_share_a_link_wait_for_one_another() -> None:
    size = 1 << 20
    apart = sends(((0, 1, 0), (2, 3, 1)))
    shared = sends(((0, 1, 0),), ((0, 1, 1),))
    both = [simulate(s, QUIETBOX2, (0, 1, 2, 3), (size,) * 4, (0,) * 4, COSTS)
            for s in (apart, shared)]  # fmt: skip
    transfer = QUIETBOX2.link.transfer_ps(size, 2)
    starts = [[message.sim_start_ps for message in timing.messages] for timing in both]
    assert starts[0][0] == starts[0][1]
    assert starts[1][1] - starts[1][0] == transfer


def test_opposite_directions_of_a_link_do_not_wait_for_one_another() -> None:
    timing = simulate(
        sends(((0, 1, 0), (1, 0, 1))), QUIETBOX2, RING, (1 << 20,) * 4, (0,) * 4, COSTS
    )
    assert len({message.sim_start_ps for message in timing.messages}) == 1


def test_chunks_of_one_round_between_two_chips_travel_as_one_message() -> None:
    timing = simulate(
        sends(((0, 1, 0), (0, 1, 1))), QUIETBOX2, RING, (300, 200, 0, 0), (0,) * 4, COSTS
    )
    assert [message.chunks for message in timing.messages] == [(0, 1)]
    assert timing.traffic[0] == {(0, 1): (500, 1)}


def test_a_ring_carries_as_many_bytes_over_each_of_its_links() -> None:
    timing = all_gather(QUIETBOX2, 1000)
    assert [dict(sent) for sent in timing.traffic] == [
        {(0, 1): (3000, 3)},
        {(1, 3): (3000, 3)},
        {(3, 2): (3000, 3)},
        {(2, 0): (3000, 3)},
    ]


def test_chips_that_are_not_neighbours_pay_for_every_hop_and_use_its_links() -> None:
    near, far = (
        simulate(sends(((0, 3, 0),)), GALAXY, order, (4096,) * 4, (0,) * 4, COSTS)
        for order in ((0, 4, 8, 1), (0, 4, 8, 5))
    )
    flight = [m.sim_arrival_ps - m.sim_start_ps for m in (near.messages[0], far.messages[0])]
    assert flight[1] - flight[0] == GALAXY.link.hop_latency_ps
    assert len(far.traffic[0]) == 2


def test_empty_chunks_are_not_sent() -> None:
    schedule = ring.schedule(Operation.ALL_REDUCE, Team(4, (1, 4)))
    timing = simulate(schedule, QUIETBOX2, RING, (64, 0, 0, 0), (0,) * 4, COSTS)
    assert sum(messages for sent in timing.traffic for _, messages in sent.values()) == 6


def test_a_collective_of_nothing_takes_its_start_only() -> None:
    timing = all_gather(QUIETBOX2, 0)
    assert timing.messages == ()
    assert set(timing.sim_exit_ps) == {COSTS.startup_ps + QUIETBOX2.link.latency_ps(3)}


def test_a_barrier_has_no_barrier_before_it() -> None:
    schedule = ring.schedule(Operation.BARRIER, Team(4, (1, 4)))
    timing = simulate(schedule, QUIETBOX2, RING, (16,) * 4, (0, 0, 0, 9_000_000), COSTS)
    assert min(message.sim_start_ps for message in timing.messages) < 9_000_000
    assert all(ps > 9_000_000 for ps in timing.sim_exit_ps)


def test_each_architecture_has_its_own_constants() -> None:
    assert costs_of(load_box("t3k")) == load_costs("wormhole_b0")
    assert costs_of(QUIETBOX2) == load_costs()
    with pytest.raises(ValueError, match="grayskull"):
        load_costs("grayskull")


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("rate", [0.25, 0.7])
def test_an_edge_at_a_lower_rate_is_a_link_that_is_always_slow(maker: str, rate: float) -> None:
    edges = tuple(replace(e, rate=rate) if (e.a, e.b) == (1, 3) else e for e in QUIETBOX2.edges)
    box = replace(QUIETBOX2, name="a slow edge", edges=edges)
    faults = FaultPlan((LinkSlow((1, 3), 1 / rate),))
    schedule = MAKERS[maker].schedule(Operation.ALL_REDUCE, Team(4, (1, 4)))
    sizes, entries = (12_345,) * schedule.num_chunks, (0,) * 4
    found = simulate(schedule, box, RING, sizes, entries, COSTS)
    wanted = simulate(schedule, QUIETBOX2, RING, sizes, entries, COSTS, faults)
    plain = simulate(schedule, QUIETBOX2, RING, sizes, entries, COSTS)
    assert found.sim_exit_ps == wanted.sim_exit_ps
    assert max(found.sim_exit_ps) > max(plain.sim_exit_ps)


def test_other_costs_make_another_plan_and_leave_the_first_as_it_is() -> None:
    call = Call(Operation.ALL_GATHER, (4, 4), DType.FLOAT32, (0, 1, 2, 3), "")
    before = plan_of(QUIETBOX2, 0, call, "ring").sim_whole_ps
    startup = replace(COSTS.startup, value=COSTS.startup.value + 1)
    later = plan_of(QUIETBOX2, 0, call, "ring", replace(COSTS, startup=startup))
    assert later.sim_whole_ps == before + PS_PER_US
    assert plan_of(QUIETBOX2, 0, call, "ring").sim_whole_ps == before


def test_an_edge_of_one_link_is_an_edge() -> None:
    box = replace(QUIETBOX2, name="one", edges=(Edge(0, 1, 1),))
    timing = simulate(sends(((0, 1, 0),), num_ranks=2), box, (0, 1), (1 << 20, 0), (0, 0), COSTS)
    (message,) = timing.messages
    flight = message.sim_arrival_ps - message.sim_start_ps
    assert flight == box.link.latency_ps(1) + box.link.transfer_ps(1 << 20, 1)
