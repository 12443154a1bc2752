"""Transfers that start together: fair, never faster than alone, and the same in every run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.noc import Noc, Transfer, traffic
from meshtwin.chip.noc.patterns import PATTERNS, pattern
from meshtwin.chip.noc.sharing import fair_rates
from meshtwin.chip.spec import load_product

NOC = Noc(load_product("p150"))
WORKERS = [core.noc0 for core in NOC.floorplan.worker_cores()]


@st.composite
def transfers(draw: st.DrawFn) -> Transfer:
    """A read, a write or a multicast of any size."""
    size, count = draw(st.integers(1, 1 << 16)), draw(st.integers(1, 20))
    noc = draw(st.sampled_from([0, 1]))
    src, dst = (draw(st.sampled_from(WORKERS)) for _ in range(2))
    what = draw(st.sampled_from(["write", "read", "multicast"]))
    if what == "write":
        return NOC.write(src, dst, size, count, noc)
    if what == "read":
        port = NOC.floorplan.dram_port(draw(st.integers(0, 7)), noc).noc0
        return NOC.read(port, dst, size, count, noc)
    corners = (min(src[0], dst[0]), min(src[1], dst[1])), (max(src[0], dst[0]), max(src[1], dst[1]))
    return NOC.multicast(src, corners, size, count, noc)


@given(transfers())
def test_alone_a_transfer_takes_its_latency(transfer: Transfer) -> None:
    assert NOC.together([transfer]) == [transfer.sim_latency_ps]


@given(st.lists(transfers(), min_size=1, max_size=8))
def test_no_transfer_is_faster_for_company(moves: list[Transfer]) -> None:
    done = NOC.together(moves)
    assert all(at >= move.sim_latency_ps for at, move in zip(done, moves, strict=True))
    assert done == NOC.together(moves)


@given(st.lists(transfers(), min_size=1, max_size=8))
def test_no_resource_gives_more_than_it_has_and_every_transfer_meets_a_full_one(
    moves: list[Transfer],
) -> None:
    rates = fair_rates(dict(enumerate(moves)))
    capacity = dict(pair for move in moves for pair in move.capacities)
    used = dict.fromkeys(capacity, 0)
    for i, move in enumerate(moves):
        for resource, _ in move.capacities:
            used[resource] += rates[i]
    assert all(used[resource] <= capacity[resource] for resource in capacity)
    for i, move in enumerate(moves):
        spare = min(capacity[resource] - used[resource] for resource, _ in move.capacities)
        assert min(spare, move.rate_bytes_per_s - rates[i]) <= len(moves)  # left by rounding down


@given(st.lists(transfers(), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(moves: list[Transfer], chance: object) -> None:
    done = NOC.together(moves)
    back = NOC.together(moves[::-1])[::-1]
    # where shares round down depends on the order: 1 byte a second of 10^10
    assert all(abs(a - b) <= 2 + a // 10**6 for a, b in zip(done, back, strict=True))


def test_two_flows_over_one_link_take_the_bytes_of_both() -> None:
    alone = NOC.write((1, 2), (3, 3), 4096)
    other = NOC.write((2, 2), (3, 4), 4096)  # shares the link (2,2)->(3,2) and the way down
    extra = NOC.together([alone, other])[0] - alone.sim_latency_ps
    assert extra * NOC.spec.clock_hz / 1e12 == pytest.approx(4096 / 61.5, rel=0.01)


def test_flows_that_share_no_link_do_not_meet() -> None:
    moves = [NOC.write((1, y), (2, y), 1 << 14, 10) for y in range(2, 12)]
    assert NOC.together(moves) == [move.sim_latency_ps for move in moves]
    there, back = NOC.write((1, 2), (3, 2), 1 << 14), NOC.write((3, 2), (1, 2), 1 << 14)
    assert NOC.together([there, back]) == [there.sim_latency_ps, back.sim_latency_ps]


def test_the_two_nocs_share_a_bank_but_no_link() -> None:
    reads = [
        NOC.read(NOC.floorplan.dram_port(0, noc).noc0, (1, 2), 1 << 14, 8, noc) for noc in (0, 1)
    ]
    done = NOC.together(reads)
    alone = reads[0].sim_latency_ps
    assert all(at > 1.8 * alone for at in done)
    writes = [NOC.write((1, 2), (2, 2), 1 << 14, 8, noc) for noc in (0, 1)]
    assert NOC.together(writes) == [write.sim_latency_ps for write in writes]


def test_a_short_transfer_leaves_its_share_to_the_long_one() -> None:
    short, long = NOC.write((1, 2), (3, 2), 1 << 12), NOC.write((2, 2), (3, 2), 1 << 16)
    done = NOC.together([short, long])
    both = (short.num_bytes + long.num_bytes) * 10**12 // long.rate_bytes_per_s
    assert done[0] < done[1]
    assert done[1] == pytest.approx(long.sim_startup_ps + both, rel=1e-6)


def test_nothing_to_move_takes_no_time() -> None:
    assert NOC.together([]) == []


@pytest.mark.parametrize("product", ["p100a", "galaxy", "n300"])
@pytest.mark.parametrize("name", PATTERNS)
def test_every_pattern_runs_on_every_grid(product: str, name: str) -> None:
    noc = Noc(load_product(product))
    columns, rows = noc.floorplan.workers
    counts = {"adjacent": noc.spec.dram_banks, "row": rows, "column": columns}
    for index in (0, 1):
        moves = pattern(noc, name, 2048, 4, index)
        assert len(moves) == counts.get(name, noc.spec.num_cores)
        assert all(link.noc == index for link in traffic(moves))
        done = noc.together(moves)
        assert all(at >= move.sim_latency_ps for at, move in zip(done, moves, strict=True))


def test_an_unknown_pattern_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'row'"):
        pattern(NOC, "rows", 64)
