"""A plan of faults answers purely from its events and its seed."""

import pickle
import tomllib
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument
from meshtwin.fabric.detour import route_around
from meshtwin.fabric.fate import Fate
from meshtwin.fabric.fault_events import (
    ChipKill,
    ChipStall,
    Event,
    LinkCut,
    LinkFlaky,
    LinkRetrain,
    LinkSlow,
)
from meshtwin.fabric.faults import MAX_ATTEMPTS, FaultPlan
from meshtwin.fabric.topology import load_box

QUIETBOX2 = load_box("quietbox2")
FLAKY = FaultPlan((LinkFlaky((0, 1), drop=0.2, corrupt=0.1),), seed=7)


def test_a_plan_is_hashable_and_survives_pickling() -> None:
    again = pickle.loads(pickle.dumps(FLAKY))
    assert again == FLAKY
    assert hash(again) == hash(FLAKY)
    assert again.fate((0, 1), 3, 4, 0) is FLAKY.fate((0, 1), 3, 4, 0)


def test_fates_come_as_often_as_their_probabilities_say() -> None:
    fates = Counter(FLAKY.fate((0, 1), 0, packet, 0) for packet in range(20_000))
    assert fates[Fate.DROPPED] / 20_000 == pytest.approx(0.2, abs=0.01)
    assert fates[Fate.CORRUPTED] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_links_messages_attempts_and_seeds_have_fates_of_their_own() -> None:
    def fates(plan: FaultPlan, link: tuple[int, int], message: int, attempt: int) -> list[Fate]:
        return [plan.fate(link, message, packet, attempt) for packet in range(100)]

    other = FaultPlan(FLAKY.events, seed=8)
    drawn = [
        fates(FLAKY, (0, 1), 0, 0),
        fates(FLAKY, (1, 0), 0, 0),
        fates(FLAKY, (0, 1), 1, 0),
        fates(FLAKY, (0, 1), 0, 1),
        fates(other, (0, 1), 0, 0),
    ]
    assert len({tuple(fate.value for fate in listed) for listed in drawn}) == len(drawn)


def test_links_without_events_deliver_everything() -> None:
    assert {FLAKY.fate((2, 3), 0, packet, 0) for packet in range(50)} == {Fate.DELIVERED}


@given(
    seed=st.integers(0, 2**64 - 1),
    message=st.integers(0, 10**6),
    num_packets=st.integers(0, 60),
    drop=st.sampled_from([0.0, 0.3, 0.9]),
)
def test_retries_count_the_fates_packet_by_packet(
    seed: int, message: int, num_packets: int, drop: float
) -> None:
    plan = FaultPlan((LinkFlaky((0, 1), drop, 0.05),), seed)
    needed = []
    for packet in range(num_packets):
        fates = [plan.fate((0, 1), message, packet, attempt) for attempt in range(MAX_ATTEMPTS)]
        needed.append(fates.index(Fate.DELIVERED) if Fate.DELIVERED in fates else None)
    expected = None if None in needed else sum(tries for tries in needed if tries)
    assert plan.retries((0, 1), message, num_packets) == expected


def test_a_link_that_loses_everything_never_gets_a_packet_across() -> None:
    assert FaultPlan((LinkFlaky((0, 1), drop=1.0),)).retries((1, 0), 0, 1) is None


def test_a_cut_link_is_down_both_ways_from_its_time_on() -> None:
    plan = FaultPlan((LinkCut((1, 0), at_ps=100),))
    assert [plan.is_down((0, 1), ps) for ps in (99, 100, 10**15)] == [False, True, True]
    assert plan.is_down((1, 0), 100)
    assert not plan.is_down((0, 2), 100)


def test_slow_times_multiply_and_end() -> None:
    plan = FaultPlan((LinkSlow((0, 1), 2.0), LinkSlow((0, 1), 3.0, from_ps=10, to_ps=20)))
    assert [plan.rate_factor((1, 0), ps) for ps in (0, 10, 19, 20)] == [2, 6, 6, 2]


def test_retraining_windows_that_touch_are_one_wait() -> None:
    plan = FaultPlan((LinkRetrain((0, 1), 15, 10), LinkRetrain((0, 1), 10, 5)))
    assert [plan.next_usable_ps((0, 1), ps) for ps in (9, 10, 14, 24, 25)] == [9, 25, 25, 25, 25]


def test_a_transfer_pauses_while_its_link_retrains() -> None:
    plan = FaultPlan((LinkRetrain((0, 1), 10, 5), LinkRetrain((0, 1), 22, 4)))
    assert plan.finish_ps((0, 1), 0, 10) == 10
    assert plan.finish_ps((0, 1), 0, 11) == 16
    assert plan.finish_ps((0, 1), 5, 13) == 27


def test_a_stalled_chip_goes_on_afterwards_or_never() -> None:
    plan = FaultPlan((ChipStall(1, 10, 5), ChipStall(1, 15, 1), ChipStall(2, 10, None)))
    assert [plan.stall(1, ps) for ps in (9, 10, 15, 16)] == [9, 16, 16, 16]
    assert [plan.stall(2, ps) for ps in (9, 10)] == [9, None]
    assert plan.stall(0, 10) == 10


def test_a_killed_chip_is_gone_at_its_first_kill() -> None:
    plan = FaultPlan((ChipKill(3, 20), ChipKill(3, 10)))
    assert plan.kills(3) == 10
    assert plan.kills(0) is None


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (LinkCut((0, 3)), r"no link \(0, 3\); the nearest is \(0, 2\)"),
        (LinkSlow((8, 9), 2.0), r"the nearest is \(2, 3\)"),
        (ChipKill(4, 0), "the nearest is chip 3"),
        (ChipStall(9, 0, None), "no chip 9"),
    ],
)
def test_what_the_box_does_not_have_is_named_with_the_nearest_that_it_has(
    event: Event, text: str
) -> None:
    with pytest.raises(InvalidArgument, match=text):
        FaultPlan((event,)).check(QUIETBOX2)


def test_what_the_box_has_passes_the_check() -> None:
    FaultPlan((LinkCut((3, 1)), ChipStall(3, 0, 1))).check(QUIETBOX2)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: LinkFlaky((0, 1), drop=1.5), r"drop \(=1.5\)"),
        (lambda: LinkFlaky((0, 1), drop=0.6, corrupt=0.6), r"drop \+ corrupt \(=1.2\)"),
        (lambda: LinkSlow((0, 1), 0.0), r"factor \(=0.0\)"),
        (lambda: LinkSlow((0, 1), 2.0, from_ps=5, to_ps=4), r"to_ps \(=4\)"),
        (lambda: LinkCut((0, 1), at_ps=-1), r"at_ps \(=-1\)"),
        (lambda: LinkCut((1, 1)), r"link \(=\(1, 1\)\)"),
        (lambda: LinkRetrain((0, 1), 0, 0), r"for_ps \(=0\)"),
        (lambda: ChipStall(-1, 0, None), r"chip \(=-1\)"),
        (lambda: FaultPlan.parse({"policy": "hope"}), r"policy \(='hope'\)"),
        (lambda: FaultPlan(seed=-1), r"seed \(=-1\)"),
    ],
)
def test_impossible_values_are_named(make: Any, text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        make()


def test_a_plan_reads_from_a_file() -> None:
    text = """
        seed = 7
        policy = "reroute"
        [[events]]
        kind = "link_cut"
        link = [0, 1]
        at_us = 12.5
        [[events]]
        kind = "link_slow"
        link = [0, 1]
        factor = 2
        to_ps = 99
        [[events]]
        kind = "chip_stall"
        chip = 2
        at_ps = 3
    """
    assert FaultPlan.parse(tomllib.loads(text)) == FaultPlan(
        (
            LinkCut((0, 1), 12_500_000),
            LinkSlow((0, 1), 2, 0, 99),
            ChipStall(2, 3, None),
        ),
        seed=7,
        policy="reroute",
    )


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"event": []}, "did you mean 'events'"),
        ({"events": [{"kind": "link_cutt"}]}, "did you mean 'link_cut'"),
        ({"events": [{"link": [0, 1]}]}, "kind"),
        ({"events": [{"kind": "link_cut", "link": [0, 1], "at_p": 1}]}, "link_cut has no 'at_p'"),
        ({"events": [{"kind": "link_slow", "link": [0, 1]}]}, "link_slow needs factor"),
    ],
)
def test_what_a_file_gets_wrong_is_named(mapping: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        FaultPlan.parse(mapping)


def test_a_detour_is_the_shortest_way_over_links_that_live() -> None:
    galaxy = load_box("galaxy")
    assert route_around(galaxy, 0, 1, frozenset()) == (0, 1)
    assert route_around(galaxy, 0, 1, frozenset({(0, 1)})) == (0, 4, 5, 1)
    assert route_around(galaxy, 1, 0, frozenset({(0, 1)})) == (1, 0)
    assert route_around(galaxy, 0, 1, frozenset({(0, 1), (0, 4)})) is None
