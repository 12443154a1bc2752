"""Frames in packets, hop by hop: the conformance suite, and what only routed frames show."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from meshtwin.fabric.fate import Fate, Fates, Link
from meshtwin.fabric.topology import Box
from meshtwin.fabric.transport.base import Transport
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.fabric.transport.routed import RoutedTransport
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport
from meshtwin.fabric.transport.zeromq import ZmqTransport

from . import check_transport as suite
from .fabric_harness import Opener
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


@INNER
def test_routed_frames_conform_in_threads(inner: Opener) -> None:
    suite.check_transport(Routed(LINE, inner))


@INNER
def test_routed_frames_conform_between_processes(inner: Opener) -> None:
    suite.check_transport(Routed(LINE, inner), processes=True)
