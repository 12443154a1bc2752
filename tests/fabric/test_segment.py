"""Segments: anonymous, sparse, sealed, and found only by who they are for."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from meshtwin.fabric.errors import SharedMemoryRefused
from meshtwin.fabric.transport.segment import NUM_CHANNELS, Segment

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memfd is Linux's")


def test_a_peer_sees_what_the_owner_writes() -> None:
    own = Segment.create(4)
    peer = Segment.open(own.address)
    own.slot(2, 1)[:4] = (1, 2, 3, 4)
    assert peer.slot(2, 1)[:5].tolist() == [1, 2, 3, 4, 0]
    peer.ring(3)[1][-1] = 9
    assert own.ring(3)[1][-1] == 9
    peer.close()
    own.close()


def test_rings_and_slots_do_not_overlap() -> None:
    segment = Segment.create(3, slot_bytes=4096, ring_bytes=4096)
    parts = [segment.ring(src)[1] for src in range(3)]
    parts += [segment.slot(c, p) for c in range(NUM_CHANNELS) for p in (0, 1)]
    for value, part in enumerate(parts, start=1):
        part[:] = value
    assert all((part == value).all() for value, part in enumerate(parts, start=1))
    assert Segment.open(segment.address).address.token == segment.address.token
    segment.close()


def test_untouched_memory_costs_nothing_even_for_32_chips() -> None:
    segments = [Segment.create(32) for _ in range(32)]
    peers = [Segment.open(segment.address) for segment in segments for _ in range(32)]
    used_bytes = sum(os.fstat(segment.address.fd).st_blocks * 512 for segment in segments)
    assert segments[0].address.num_bytes > 10_000_000
    assert used_bytes <= 32 * 4 * 4096
    for segment in (*peers, *segments):
        segment.close()


def test_nothing_has_a_name_and_closing_gives_the_file_back() -> None:
    before = set(Path("/dev/shm").iterdir())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    segment = Segment.create(4)
    assert set(Path("/dev/shm").iterdir()) <= before
    segment.close()
    segment.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_nobody_can_cut_a_segment_short() -> None:
    segment = Segment.create(2)
    with pytest.raises(OSError):
        os.ftruncate(segment.address.fd, 4096)
    segment.close()


def test_a_recycled_process_number_is_found_out() -> None:
    one, two = Segment.create(2), Segment.create(2)
    with pytest.raises(SharedMemoryRefused, match="another process"):
        Segment.open(replace(one.address, fd=two.address.fd))
    one.close()
    two.close()


def test_a_peer_that_is_gone_is_refused_by_name() -> None:
    segment = Segment.create(2)
    segment.close()
    with pytest.raises(SharedMemoryRefused, match="/proc/"):
        Segment.open(segment.address)


def test_a_refusing_system_says_what_it_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(SharedMemoryRefused, match=r"memfd_create.*not permitted.*zeromq"):
        Segment.create(2)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SharedMemoryRefused, match="darwin"):
        Segment.create(2)


def test_an_abort_is_known_by_its_run_and_a_late_one_does_not_hide_it() -> None:
    segment = Segment.create(2)
    assert segment.aborted_by(0) is None
    segment.mark_aborted(5, by=1)
    segment.mark_aborted(4, by=0)
    assert segment.aborted_by(5) == 1
    assert segment.aborted_by(4) is None
    segment.close()
