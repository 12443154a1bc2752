"""Simulated time of schedules, against arithmetic done by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.spec import Constant
from meshtwin.collectives.algorithm import Team
from meshtwin.collectives.algorithms.line import line
from meshtwin.collectives.algorithms.ring import ring
from meshtwin.collectives.costs import load_costs
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.simulate import Timing, simulate
from meshtwin.fabric.topology import Box, load_box

COSTS = load_costs()
QUIETBOX2 = load_box("quietbox2")
RING = (0, 1, 3, 2)


def all_gather(box: Box, chunk_bytes: int, entry: tuple[int, ...] = (0, 0, 0, 0)) -> Timing:
    schedule = ring.schedule(Operation.ALL_GATHER, Team(4, (1, 4)))
    return simulate(schedule, box, RING, (chunk_bytes,) * 4, entry, COSTS)


def test_a_ring_all_gather_takes_start_up_and_three_equal_steps() -> None:
    size = 1 << 20
    step = (
        COSTS.step_overhead_ps
        + QUIETBOX2.link.latency_ps(1)
        + QUIETBOX2.link.transfer_ps(size, QUIETBOX2.num_links(0, 1))
    )
    assert all_gather(QUIETBOX2, size).sim_exit_ps == (COSTS.startup_ps + 3 * step,) * 4


def test_an_all_reduce_also_pays_for_its_additions() -> None:
    size = 1 << 20
    schedule = ring.schedule(Operation.ALL_REDUCE, Team(4, (1, 4)))
    timing = simulate(schedule, QUIETBOX2, RING, (size,) * 4, (0,) * 4, COSTS)
    gather = all_gather(QUIETBOX2, size).sim_exit_ps[0] - COSTS.startup_ps
    expected = COSTS.startup_ps + 2 * gather + 3 * COSTS.reduce_ps(size)
    assert timing.sim_exit_ps == (expected,) * 4


def test_halving_the_link_rate_doubles_the_transfer_and_nothing_else() -> None:
    rate = QUIETBOX2.link.line_rate
    payload = QUIETBOX2.link.packet_rate
    slow = replace(
        QUIETBOX2,
        link=replace(
            QUIETBOX2.link,
            line_rate=Constant(rate.value / 2, rate.unit, "inferred", "test"),
            packet_rate=Constant(payload.value / 2, payload.unit, "inferred", "test"),
        ),
    )
    size = 1 << 24
    fast_ps, slow_ps = (all_gather(box, size).sim_exit_ps[0] for box in (QUIETBOX2, slow))
    transfer = 3 * QUIETBOX2.link.transfer_ps(size, 2)
    assert abs((slow_ps - fast_ps) - transfer) <= transfer * 1e-6


def test_a_chip_that_comes_late_delays_the_others_by_no_more_than_that() -> None:
    even = all_gather(QUIETBOX2, 4096).sim_exit_ps
    late = all_gather(QUIETBOX2, 4096, (0, 0, 5_000_000, 0)).sim_exit_ps
    assert all(0 <= after - before <= 5_000_000 for before, after in zip(even, late, strict=True))
    assert late[2] - even[2] > 0


@given(st.lists(st.integers(0, 10**9), min_size=4, max_size=4), st.integers(0, 10**12))
def test_times_only_shift_when_everybody_comes_later(entry: list[int], shift: int) -> None:
    first = all_gather(QUIETBOX2, 1000, tuple(entry)).sim_exit_ps
    second = all_gather(QUIETBOX2, 1000, tuple(e + shift for e in entry)).sim_exit_ps
    assert tuple(ps + shift for ps in first) == second


def test_a_ring_carries_as_many_bytes_over_each_of_its_links() -> None:
    timing = all_gather(QUIETBOX2, 1000)
    assert [dict(sent) for sent in timing.traffic] == [
        {(0, 1): (3000, 3)},
        {(1, 3): (3000, 3)},
        {(3, 2): (3000, 3)},
        {(2, 0): (3000, 3)},
    ]


def test_chips_that_are_not_neighbours_pay_for_every_hop_and_share_its_links() -> None:
    schedule = line.schedule(Operation.BROADCAST, Team(2, (1, 2)))
    near = simulate(schedule, QUIETBOX2, (0, 1), (4096, 0), (0, 0), COSTS)
    far = simulate(schedule, QUIETBOX2, (0, 3), (4096, 0), (0, 0), COSTS)
    extra = QUIETBOX2.link.latency_ps(2) - QUIETBOX2.link.latency_ps(1)
    assert far.sim_exit_ps[1] - near.sim_exit_ps[1] == extra
    assert len(far.traffic[0]) == 2


def test_empty_chunks_are_not_sent() -> None:
    schedule = ring.schedule(Operation.ALL_REDUCE, Team(4, (1, 4)))
    timing = simulate(schedule, QUIETBOX2, RING, (64, 0, 0, 0), (0,) * 4, COSTS)
    assert sum(messages for sent in timing.traffic for _, messages in sent.values()) == 6


@pytest.mark.parametrize(
    ("num_ranks", "total_bytes", "measured_us", "within"),
    [
        (4, 8192, 7.36, 0.1),  # a row that start-up and step overhead were solved from
        (2, 131072, 7.24, 0.25),  # rows that nothing was fitted to
        (4, 262144, 11.86, 0.25),
        (2, 16777216, 187.28, 0.25),
        (4, 16777216, 285.53, 0.25),
    ],
)
def test_all_gather_on_a_line_is_near_what_was_measured(
    num_ranks: int, total_bytes: int, measured_us: float, within: float
) -> None:
    """Blackhole Galaxy, bfloat16: tt-metal tech_reports/CCLs, FULL_blackhole_bfloat16_8192."""
    galaxy = load_box("galaxy")
    schedule = line.schedule(Operation.ALL_GATHER, Team(num_ranks, (1, num_ranks)))
    order = galaxy.line(tuple(range(num_ranks)))
    chunks = (total_bytes // num_ranks,) * num_ranks
    timing = simulate(schedule, galaxy, order, chunks, (0,) * num_ranks, COSTS)
    assert abs(max(timing.sim_exit_ps) / 1e6 / measured_us - 1) < within
