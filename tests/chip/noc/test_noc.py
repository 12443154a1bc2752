"""What transfers cost alone: the shape of the model; its figures are in test_measured.py."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument, NoSuchCore
from meshtwin.chip.noc import Link, Noc, Transfer, traffic
from meshtwin.chip.noc.places import place, rectangle
from meshtwin.chip.spec import load_product

NOC = Noc(load_product("p150"))
WORKERS = [core.noc0 for core in NOC.floorplan.worker_cores()]
PS_PER_CLOCK = 1e12 / NOC.spec.clock_hz


def clocks(transfer: Transfer) -> float:
    return transfer.sim_latency_ps / PS_PER_CLOCK


def test_nine_clocks_a_hop_lie_between_a_column_and_the_rest() -> None:
    corner, below, beside, across = ((1, 2), (1, 3), (2, 2), (2, 3))
    times = [clocks(NOC.read(src, corner, 64)) for src in (below, beside, across)]
    assert times[1] - times[0] == pytest.approx(9 * 5, abs=0.01)
    assert times[2] - times[0] == pytest.approx(9 * 17, abs=0.01)
    assert [NOC.read(src, corner, 64).hops for src in (below, beside, across)] == [12, 17, 29]


@given(st.sampled_from(WORKERS), st.sampled_from(WORKERS), st.sampled_from([0, 1]))
def test_both_nocs_and_all_distances_take_as_long_for_one_transaction(
    src: tuple[int, int], dst: tuple[int, int], noc: int
) -> None:
    one = NOC.write(src, dst, 2048, noc=noc)
    assert one.sim_latency_ps == NOC.write(src, dst, 2048).sim_latency_ps
    assert one.hops in (0, 12, 17, 29)


@given(
    st.integers(1, 1 << 16),
    st.integers(1, 300),
    st.sampled_from(["read", "write", "dram", "multicast"]),
)
def test_more_bytes_or_transactions_never_take_less_time(
    num_bytes: int, transactions: int, what: str
) -> None:
    def time(size: int, count: int) -> int:
        if what == "multicast":
            return NOC.multicast((1, 2), ((1, 2), (6, 11)), size, count).sim_latency_ps
        if what == "dram":
            return NOC.read((0, 11), (1, 2), size, count).sim_latency_ps
        move = NOC.read if what == "read" else NOC.write
        return move((1, 2), (2, 3), size, count).sim_latency_ps

    # a picosecond and one byte a second are the grain of the simulated clock and of rates
    slack = 2 + time(num_bytes, transactions) // 10**9
    assert time(num_bytes, transactions) <= time(num_bytes + 1, transactions) + slack
    assert time(num_bytes, transactions) <= time(num_bytes, transactions + 1) + slack


def test_many_transactions_come_near_the_rate_of_a_link_and_of_a_bank() -> None:
    link = NOC.spec.clock_hz * NOC.costs.link_bytes_per_clock
    bank = NOC.spec.clock_hz * NOC.costs.dram_bytes_per_clock
    many = NOC.write((1, 2), (2, 3), 16384, 1000)
    assert 0.99 * link < many.bandwidth_bytes_per_s < link
    many = NOC.read((0, 11), (1, 2), 16384, 1000)
    assert 0.99 * bank < many.bandwidth_bytes_per_s < bank


def test_dram_adds_its_own_time() -> None:
    from_l1 = clocks(NOC.read((2, 3), (1, 2), 64))
    from_dram = clocks(NOC.read((0, 11), (1, 2), 64))
    assert from_dram - from_l1 == pytest.approx(NOC.costs.dram_read_clocks, abs=1)


def test_a_multicast_reserves_its_path_again_for_every_packet() -> None:
    corners = ((1, 2), (6, 11))  # 9 rows down and 5 columns right
    one = NOC.multicast((1, 2), corners, 16384)
    two = NOC.multicast((1, 2), corners, 32768)
    assert clocks(two) - clocks(one) == pytest.approx(14 * 16.2 + 16384 / 61.5, abs=0.01)
    assert len(one.dsts) == 60
    assert one.hops == 29


def test_a_multicast_skips_what_is_no_working_tensix_core() -> None:
    found = NOC.multicast((6, 5), ((6, 4), (11, 5)), 64)
    assert found.dsts == ((6, 4), (11, 4), (6, 5), (11, 5))


def test_the_reader_beside_a_bank_is_one_link_from_its_port() -> None:
    for bank in range(8):
        port = NOC.floorplan.dram_port(bank, 0).noc0
        worker = NOC.adjacent_worker(bank).noc0
        distance = len(NOC.read(port, worker, 64).route)
        assert distance == (1 if port[0] == 0 else 2)  # column 10 is harvested


def test_traffic_counts_the_bytes_of_every_link() -> None:
    moves = [NOC.write((1, 2), (3, 2), 100, 3), NOC.write((2, 2), (3, 2), 50)]
    assert traffic(moves) == {Link(0, (1, 2), (2, 2)): 300, Link(0, (2, 2), (3, 2)): 350}


def test_what_cannot_be_is_refused() -> None:
    wrongs: tuple[Callable[[], Transfer], ...] = (
        lambda: NOC.read((1, 2), (2, 2), 0),
        lambda: NOC.write((1, 2), (2, 2), 64, 0),
        lambda: NOC.write((1, 2), (2, 2), 64, noc=2),
        lambda: NOC.write((0, 0), (2, 2), 64),
        lambda: NOC.read((1, 2), (0, 0), 64),
        lambda: NOC.multicast((0, 0), ((1, 2), (2, 3)), 64),
        lambda: NOC.multicast((1, 2), ((2, 3), (1, 2)), 64),
        lambda: NOC.multicast((1, 2), ((0, 0), (0, 5)), 64),
        lambda: NOC.multicast((1, 2), ((1, 2), (1, 50)), 64),
    )
    for wrong in wrongs:
        with pytest.raises(InvalidArgument):
            wrong()
    with pytest.raises(NoSuchCore, match=r"at \(7, 2\); the nearest is \(6, 2\)"):
        NOC.write((7, 2), (1, 2), 64)
    with pytest.raises(NoSuchCore, match=r"at \(3, 0\)"):
        NOC.read((3, 0), (1, 2), 64)


def test_places_are_noc0_workers_or_banks() -> None:
    assert place(NOC, "3,4") == (3, 4)
    assert place(NOC, "w6,0") == (11, 2)
    assert place(NOC, "d0", 0) == (0, 11)
    assert place(NOC, "d0", 1) == (0, 1)
    assert rectangle(NOC, "w0,0..w1,1") == ((1, 2), (2, 3))
    for text in ("x", "w1", "1,2,3", "d"):
        with pytest.raises(InvalidArgument, match="no place"):
            place(NOC, text)
    with pytest.raises(InvalidArgument, match="no rectangle"):
        rectangle(NOC, "w0,0")
