"""Explored schedules: the conformance suite, exact standstills, and a seed that is a schedule."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import FabricError, FabricHang
from meshtwin.fabric.topology import load_box
from meshtwin.fabric.transport.exploration import Ending, Exploration
from meshtwin.fabric.transport.explored import ExploredTransport, open_explored
from meshtwin.fabric.waits import Activity, ChipStatus

from . import check_transport as suite
from .fabric_harness import Site

WAIT_S = 1.0  # without meaning in an exploration
NUM_CHIPS = 3
Program = Callable[[ExploredTransport], Any]
SCENARIOS = [s for s in suite.SCENARIOS if s is not suite.a_wait_has_a_limit_and_says_for_whom]
"""That wait has no limit here: it is a standstill, which has tests of its own."""


def explored(programs: list[Program], seed: int) -> tuple[list[Ending], Exploration]:
    exploration = Exploration(len(programs), seed)
    ends = open_explored(exploration)
    endings = exploration.run(
        [partial(program, end) for end, program in zip(ends, programs, strict=True)]
    )
    return endings, exploration


def results(endings: list[Ending]) -> list[Any]:
    for ending in endings:
        if ending.error is not None:
            raise ending.error
    return [ending.result for ending in endings]


@dataclass
class Meetings:
    """A barrier of the chips of an exploration."""

    exploration: Exploration
    arrived: list[int] = field(default_factory=lambda: [0] * NUM_CHIPS)

    def of(self, rank: int) -> "MeetingOfOne":
        return MeetingOfOne(self, rank)


@dataclass
class MeetingOfOne:
    """One chip's side of it."""

    meetings: Meetings
    rank: int

    def wait(self, timeout: float | None = None) -> int:
        arrived = self.meetings.arrived
        arrived[self.rank] += 1
        number = arrived[self.rank]
        others = tuple(rank for rank in range(NUM_CHIPS) if rank != self.rank)
        status = ChipStatus(Activity.WAITING, others, f"meeting {number}")
        is_ready = lambda: min(arrived) >= number  # noqa: E731
        self.meetings.exploration.look_again()
        self.meetings.exploration.wait_until(self.rank, is_ready, status)
        return 0

    def abort(self) -> None:
        """Nothing to do: the others will stand still."""


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_an_explored_transport_conforms(scenario: suite.Scenario, seed: int) -> None:
    exploration = Exploration(NUM_CHIPS, seed)
    meetings = Meetings(exploration)

    def task(end: ExploredTransport) -> None:
        site = Site(end.rank, NUM_CHIPS, end, meetings.of(end.rank))
        site.transport.begin_run(10)
        site.meet()
        scenario(site, 10)
        site.meet()
        site.transport.close()
        suite._after_close(site)

    ends = open_explored(exploration)
    results(exploration.run([partial(task, end) for end in ends]))


def gather_by_arrival(end: ExploredTransport) -> list[int] | None:
    if end.rank:
        end.send(0, b"")
        return None
    return [end.recv_any(WAIT_S)[0] for _ in range(3)]


def test_every_order_of_arrival_comes_up() -> None:
    orders = {tuple(explored([gather_by_arrival] * 4, seed)[0][0].result) for seed in range(100)}
    assert len(orders) == 6


@given(st.integers(0, 2**40), st.integers(0, 5))
def test_a_seed_is_a_schedule(seed: int, num_sends: int) -> None:
    def chatter(end: ExploredTransport) -> list[int]:
        for dst in range(3):
            for number in range(num_sends):
                end.send(dst, bytes([number]))
        taken = [end.recv_any(WAIT_S) for _ in range(3 * num_sends)]
        for src in range(3):  # those of a pair come in order
            assert [h[0] for s, h, _ in taken if s == src] == list(range(num_sends))
        return [src for src, _, _ in taken]

    first, one = explored([chatter] * 3, seed)
    second, other = explored([chatter] * 3, seed)
    assert results(first) == results(second)
    assert one.log == other.log
    assert one.digest() == other.digest()


def test_messages_pass_every_chip_of_their_route() -> None:
    box = load_box("quietbox2")
    exploration = Exploration(4, 0, box)
    ends = open_explored(exploration)

    def program(end: ExploredTransport) -> None:
        if end.rank == 0:
            end.send(3, b"")
        if end.rank == 3:
            end.recv(0, WAIT_S)

    results(exploration.run([partial(program, end) for end in ends]))
    texts = [event.what for event in exploration.log]
    assert "passes on message 0 of chip 0 to 3" in texts


def test_two_chips_that_wait_for_each_other_are_told_at_once() -> None:
    def program(end: ExploredTransport) -> None:
        end.recv(1 - end.rank, 1e9)
        end.send(1 - end.rank, b"")

    endings, _ = explored([program] * 2, 0)
    for chip, ending in enumerate(endings):
        error = ending.error
        assert isinstance(error, FabricHang)
        assert error.chip == chip
        assert [edge[:2] for edge in error.waits] == [(0, (1,)), (1, (0,))]
        assert "recv at test_explored.py:" in str(error)


def test_whoever_waits_for_a_chip_that_has_ended_is_told_at_once() -> None:
    def waits(end: ExploredTransport) -> None:
        end.recv(end.rank - 1, 1e9)

    endings, _ = explored([lambda end: None, waits, waits], 0)
    assert endings[0].error is None
    for ending in endings[1:]:
        assert "chip 0 has ended its program" in str(ending.error)


def test_a_standstill_can_be_survived() -> None:
    def program(end: ExploredTransport) -> bytes:
        with pytest.raises(FabricHang):
            end.recv(1 - end.rank, WAIT_S)
        end.send(1 - end.rank, b"better")
        return end.recv(1 - end.rank, WAIT_S)[0]

    assert results(explored([program] * 2, 0)[0]) == [b"better"] * 2


def test_frames_that_are_not_wanted_are_passed_over_but_never_overtaken() -> None:
    def program(end: ExploredTransport) -> list[bytes] | None:
        if end.rank == 1:
            end.send(0, b"no")
            end.send(0, b"yes of chip 1")
        elif end.rank == 2:
            end.send(0, b"yes of chip 2")
        else:
            first = end.recv_any(WAIT_S, lambda header: header.startswith(b"yes"))[1]
            return [first, end.recv(1, WAIT_S)[0], end.recv_any(WAIT_S)[1]]
        return None

    for seed in range(20):
        endings, _ = explored([program] * 3, seed)
        assert endings[0].result == [b"yes of chip 2", b"no", b"yes of chip 1"]


def test_only_the_program_of_a_chip_sends_for_it() -> None:
    (end,) = open_explored(Exploration(1, 0))
    with pytest.raises(FabricError, match="own thread"):
        end.send(0, b"")
