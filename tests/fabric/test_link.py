"""Links: throughput, latency and counters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.spec import Constant
from meshtwin.fabric.link import LinkCounters, LinkSpec, LinkStatistics
from meshtwin.fabric.topology import load_box

QB2 = load_box("quietbox2").link
GALAXY = load_box("galaxy").link


def test_framing_of_a_full_packet_costs_about_four_percent() -> None:
    assert GALAXY.framing_efficiency == pytest.approx(4352 / (4352 + 48 + 3 * 50))


def test_a_galaxy_link_is_bound_by_the_wire_and_a_p150_link_by_the_router() -> None:
    assert GALAXY.bytes_per_s == pytest.approx(25e9 * GALAXY.framing_efficiency)
    p150 = load_box("p150x2").link
    assert p150.bytes_per_s == pytest.approx(4352 * 8.03e6)


def test_one_hop_latency_is_near_the_measured_one_at_both_ends() -> None:
    for num_bytes, measured_ns in ((16, 655.47), (4096, 755.11)):
        modelled_ps = QB2.latency_ps(1) + QB2.transfer_ps(num_bytes)
        assert modelled_ps / 1000 == pytest.approx(measured_ns, rel=0.03)


def test_each_further_hop_adds_the_forwarding_latency() -> None:
    assert QB2.latency_ps(0) == 0
    assert QB2.latency_ps(3) - QB2.latency_ps(2) == 515_000


@given(st.integers(0, 1 << 40), st.integers(1, 8))
def test_a_transfer_is_whole_picoseconds_and_never_faster_than_the_links(
    num_bytes: int, num_links: int
) -> None:
    time_ps = GALAXY.transfer_ps(num_bytes, num_links)
    assert isinstance(time_ps, int)
    assert time_ps * GALAXY.bytes_per_s * num_links >= num_bytes * 10**12
    assert GALAXY.transfer_ps(2 * num_bytes, num_links) <= 2 * time_ps


def test_wrong_sizes_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"num_bytes \(=-1\)"):
        QB2.transfer_ps(-1)
    with pytest.raises(ValueError, match=r"num_links \(=0\)"):
        QB2.transfer_ps(1, 0)


def test_a_link_without_a_rate_is_refused() -> None:
    constants = dict(QB2.constants())
    constants["line_rate"] = Constant(0, "bytes/s", "documented", "nowhere in particular")
    with pytest.raises(ValueError, match="line_rate"):
        LinkSpec("broken", **constants)


def test_counters_count_each_direction_by_itself() -> None:
    counters = LinkCounters()
    counters.add(0, 1, 100)
    counters.add(0, 1, 50, num_messages=2)
    counters.add(1, 0, 7)
    assert counters.statistics() == {(0, 1): LinkStatistics(3, 150), (1, 0): LinkStatistics(1, 7)}
    counters.clear()
    assert counters.statistics() == {}
