"""Frames in packets, hop by hop: the conformance suite, and what only routed frames show."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from meshtwin.fabric.errors import LinkGaveUp, PeerAborted
from meshtwin.fabric.fate import Fate, Fates, Link
from meshtwin.fabric.link_status import PacketStatistics
from meshtwin.fabric.topology import Box
from meshtwin.fabric.transport.base import Transport
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.fabric.transport.routed import RoutedTransport
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport
from meshtwin.fabric.transport.zeromq import ZmqTransport

from . import check_transport as suite
from .fabric_harness import Opener, Site, run_in_threads
from .small_boxes import small_box

LINE = small_box((1, 3))
RING = small_box((1, 4), (False, True))
TORUS = small_box((3, 3), (True, True))


@dataclass(frozen=True)
class FlakyFates:
    """Drops a tenth of the packets and corrupts a tenth, by their numbers alone."""

    seed: int = 0
    drop: float = 0.1
    corrupt: float = 0.1

    def fate(self, link: Link, message: int, packet: int, attempt: int) -> Fate:
        dice = random.Random(f"{self.seed} {link} {message} {packet} {attempt}").random()
        if dice < self.drop:
            return Fate.DROPPED
        return Fate.CORRUPTED if dice < self.drop + self.corrupt else Fate.DELIVERED


@dataclass(frozen=True)
class Routed:
    """Opens a routed end over an inner one; picklable, for processes."""

    box: Box
    inner: Callable[[int, int], Transport]
    fates: Fates | None = None
    with_capture: bool = False

    def __call__(self, rank: int, num_chips: int) -> RoutedTransport:
        capture: list[tuple[int, bytes]] | None = [] if self.with_capture else None
        inner = self.inner(rank, num_chips)
        return RoutedTransport(inner, self.box, self.fates, capture=capture)


def open_pair(rank: int, num_chips: int) -> Transport:
    return open_transport(rank, num_chips)


INNER = pytest.mark.parametrize("inner", [SharedMemoryTransport, ZmqTransport])


@pytest.mark.slow
@INNER
def test_routed_frames_conform_in_threads(inner: Opener) -> None:
    suite.check_transport(Routed(LINE, inner))


@pytest.mark.slow
@INNER
def test_routed_frames_conform_between_processes(inner: Opener) -> None:
    suite.check_transport(Routed(LINE, inner), processes=True)


@pytest.mark.slow
@INNER
def test_routed_frames_conform_when_links_are_flaky(inner: Opener) -> None:
    suite.check_transport(Routed(LINE, inner, FlakyFates()))


@pytest.mark.slow
def test_routed_frames_conform_on_a_flaky_ring_between_processes() -> None:
    suite.check_transport(Routed(RING, open_pair, FlakyFates(1)), num_chips=4, processes=True)


def everybody_to_everybody(site: Site) -> dict[Link, PacketStatistics]:
    """Frames of a few packets between all chips; what the links counted."""
    site.transport.begin_run(1)
    site.meet()
    for number in range(3):
        for dst in site.peers:
            payload = suite.pattern(site.rank + number, 3_000 * (number + dst))
            site.transport.send(dst, f"{number}".encode(), payload)
    for src in site.peers:
        for number in range(3):
            header, payload = site.transport.recv(src, suite.WAIT_S)
            assert header == f"{number}".encode()
            assert bytes(payload) == suite.pattern(src + number, 3_000 * (number + site.rank))
    site.meet()
    site.transport.begin_run(2)  # ends what is under way
    counted: dict[Link, PacketStatistics] = dict(site.transport.link_statistics())
    site.meet()
    return counted


def total(counted: list[dict[Link, PacketStatistics]]) -> dict[Link, PacketStatistics]:
    links: dict[Link, PacketStatistics] = {}
    for chip in counted:
        for link, ones in chip.items():
            links[link] = links.get(link, PacketStatistics()) + ones
    return links


@INNER
def test_on_a_flaky_torus_everything_arrives_and_the_counts_are_the_same_each_time(
    inner: Opener,
) -> None:
    runs = [
        total(run_in_threads(everybody_to_everybody, Routed(TORUS, inner, FlakyFates()), 9))
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert set(runs[0]) == {(a, b) for a in range(9) for b in TORUS.neighbours(a)}
    sums = sum(runs[0].values(), PacketStatistics())
    assert sums.num_retransmissions == sums.num_dropped + sums.num_corrupted
    assert sums.num_crc_errors == sums.num_corrupted > 0 and sums.num_dropped > 0
    assert sums.num_duplicates == sums.num_refused == 0


def test_packets_are_handed_to_neighbours_only() -> None:
    """What each chip is handed comes from a neighbour, also when it is meant for a far chip."""

    def task(site: Site) -> set[int]:
        everybody_to_everybody(site)
        return {src for src, _ in site.transport._capture}

    handed = run_in_threads(task, Routed(LINE, SharedMemoryTransport, with_capture=True), 3)
    assert handed == [{1}, {0, 2}, {1}]


def test_a_frame_goes_the_way_that_it_is_told() -> None:
    def task(site: Site) -> dict[Link, PacketStatistics]:
        site.transport.begin_run(1)
        site.meet()
        if site.rank == 0:
            site.transport.send(1, b"the long way", route=(0, 3, 2, 1))
            site.transport.choose_route = lambda src, dst, _: (0, 3, 0, 1)
            site.transport.send(1, b"to and fro")
            for route in ((0, 2, 1), (0, 3, 2), (1,), ()):
                with pytest.raises(ValueError, match="route"):
                    site.transport.send(1, b"", route=route)
        if site.rank == 1:
            assert site.transport.recv(0, suite.WAIT_S)[0] == b"the long way"
            assert site.transport.recv(0, suite.WAIT_S)[0] == b"to and fro"
        site.meet()
        return dict(site.transport.link_statistics())

    links = total(run_in_threads(task, Routed(RING, SharedMemoryTransport), 4))
    used = {link: ones.num_packets for link, ones in links.items() if ones.num_packets}
    assert used == {(0, 3): 2, (3, 2): 1, (2, 1): 1, (3, 0): 1, (0, 1): 1}


@dataclass(frozen=True)
class CutCable:
    """Everything that goes over one link is lost."""

    link: Link

    def fate(self, link: Link, message: int, packet: int, attempt: int) -> Fate:
        return Fate.DROPPED if link == self.link else Fate.DELIVERED


def test_a_link_that_loses_everything_ends_the_run_on_every_chip_and_only_this_run() -> None:
    def task(site: Site) -> None:
        site.transport.begin_run(1)
        site.meet()
        if site.rank == 0:
            site.transport.send(2, b"lost on the second link")
        with pytest.raises(LinkGaveUp, match="from chip 1 to chip 2 gave up on packet 0"):
            site.transport.recv((site.rank + 1) % 3, suite.WAIT_S)
        site.meet()
        site.transport.begin_run(2)
        if site.rank == 2:
            site.transport.send(0, b"the other direction works")
        if site.rank == 0:
            assert site.transport.recv(2, suite.WAIT_S)[0] == b"the other direction works"
        site.meet()

    run_in_threads(task, Routed(LINE, SharedMemoryTransport, CutCable((1, 2))), 3)


def test_chips_forward_while_their_programs_compute() -> None:
    def task(site: Site) -> None:
        site.transport.begin_run(1)
        site.meet()
        if site.rank == 0:
            site.transport.send(2, b"through", bytes(1_000_000))
        if site.rank == 2:
            assert len(site.transport.recv(0, suite.WAIT_S)[1]) == 1_000_000
        site.meet()  # chip 1 did nothing but wait here

    run_in_threads(task, Routed(LINE, SharedMemoryTransport), 3)


def test_a_send_beyond_the_queue_waits_for_the_router() -> None:
    """The neighbour has not begun the run, so nothing drains; an abort ends the wait."""

    def task(site: Site) -> None:
        site.meet()
        if site.rank == 0:
            site.transport.begin_run(1)
            site.transport.send(1, b"", bytes(1 << 25))
            started = time.monotonic()
            with pytest.raises(PeerAborted):
                site.transport.send(1, b"", bytes(10))
            assert time.monotonic() - started < suite.WAIT_S
        if site.rank == 2:
            time.sleep(0.2)
            site.transport.abort(1)
        site.meet()

    run_in_threads(task, Routed(LINE, SharedMemoryTransport), 3)


@pytest.mark.parametrize("kind", ["an earlier run", "this run"])
def test_captured_packets_that_are_handed_over_again_are_dropped_and_counted(kind: str) -> None:
    def task(site: Site) -> int:
        site.transport.begin_run(1)
        site.meet()
        if site.rank == 0:
            site.transport.send(2, b"pay 100", b"to chip 2")
        if site.rank == 2:
            assert site.transport.recv(0, suite.WAIT_S)[0] == b"pay 100"
        site.meet()
        if kind == "an earlier run":
            site.transport.begin_run(2)
            site.meet()
        if site.rank == 1:  # what came in from chip 0 goes again to this chip's own router
            data = [data for src, data in site.transport._capture if src == 0]
            for packet in data:
                site.transport._post(
                    lambda packet=packet: site.transport._router.take(0, packet, 0)
                )
        site.meet()
        if site.rank == 0:
            site.transport.send(2, b"next")
        if site.rank == 2:
            assert site.transport.recv(0, suite.WAIT_S)[0] == b"next"
        site.meet()
        if site.rank != 1:
            return 0
        ones: PacketStatistics = site.transport.link_statistics()[0, 1]
        return ones.num_refused if kind == "an earlier run" else ones.num_duplicates

    opener = Routed(LINE, SharedMemoryTransport, with_capture=True)
    assert run_in_threads(task, opener, 3)[1] >= 1


def test_a_transport_that_cannot_be_polled_is_refused() -> None:
    inner = RoutedTransport(SharedMemoryTransport(0, 3), LINE)
    with pytest.raises(TypeError, match="RoutedTransport"):
        RoutedTransport(inner, LINE)
    inner.close()
