"""The conformance suite: what every transport must do, whatever carries the frames.

`check_transport(opener, num_chips)` opens a mesh and runs every scenario on it, in threads or in
real processes. Another transport passes it by an opener: (rank, num_chips) -> Transport.
"""

import random
import time
from collections.abc import Callable

import numpy as np
import pytest

from meshtwin.fabric.errors import (
    FabricHang,
    PeerAborted,
    RecvTimeout,
    SendTimeout,
    TransportClosed,
    UnknownRank,
)

from .fabric_harness import Opener, Site, run_in_processes, run_in_threads

SIZES = (0, 1, 7, 4096, (1 << 14) - 1, 1 << 14, (1 << 18) - 16, 1 << 18, 3_000_000)
WAIT_S = 30.0


def check_transport(
    opener: Opener, num_chips: int = 3, processes: bool = False, portable: bool = False
) -> None:
    """Run every scenario on one mesh."""
    if processes:
        run_in_processes(all_scenarios, opener, num_chips, portable)
    else:
        run_in_threads(all_scenarios, opener, num_chips)


def all_scenarios(site: Site) -> None:
    for run_id, scenario in enumerate(SCENARIOS, start=1):
        site.transport.begin_run(10 * run_id)
        site.meet()
        scenario(site, 10 * run_id)
        site.meet()
    site.transport.close()
    _after_close(site)


def frames_arrive_whole_and_in_order(site: Site, run_id: int) -> None:
    for number in range(3):
        for dst in site.peers:
            for size in SIZES:
                header = f"{site.rank} {dst} {number} {size}".encode()
                site.transport.send(dst, header, pattern(site.rank + number, size))
        for src in reversed(site.peers):
            for size in SIZES:
                header, payload = site.transport.recv(src, WAIT_S)
                assert header == f"{src} {site.rank} {number} {size}".encode()
                assert bytes(payload) == pattern(src + number, size)


def payloads_of_any_kind_are_carried(site: Site, run_id: int) -> None:
    words = np.arange(12, dtype=np.uint16).reshape(3, 4)
    payloads = (None, b"", bytearray(b"abc"), memoryview(b"xyz"), words, words.T, np.empty((0, 3)))
    expected = [b"", b"", b"abc", b"xyz", words.tobytes(), words.T.tobytes(), b""]
    for dst in site.peers:
        for payload in payloads:
            site.transport.send(dst, b"", payload)
    for src in site.peers:
        received = [site.transport.recv(src, WAIT_S) for _ in payloads]
        assert [bytes(payload) for _, payload in received] == expected
        assert {header for header, _ in received} == {b""}


def a_payload_may_be_reused_after_send(site: Site, run_id: int) -> None:
    buffer = np.zeros(100_000, np.uint8)
    for value in range(5):
        buffer[:] = value
        for dst in site.peers:
            site.transport.send(dst, b"h", buffer)
    buffer[:] = 99
    for src in site.peers:
        for value in range(5):
            _, payload = site.transport.recv(src, WAIT_S)
            assert np.array_equal(np.frombuffer(payload, np.uint8), np.full(100_000, value))


def everybody_may_send_before_anybody_receives(site: Site, run_id: int) -> None:
    large = pattern(site.rank, 3_000_000)
    for _ in range(2):
        for dst in range(site.num_chips):  # itself too
            site.transport.send(dst, b"large", large)
    for _ in range(2):
        for src in range(site.num_chips):
            assert bytes(site.transport.recv(src, WAIT_S)[1]) == pattern(src, 3_000_000)


def waiting_for_one_chip_lets_the_others_send(site: Site, run_id: int) -> None:
    """Chip 0 waits for 1, who comes last; the others' large frames must not be held up."""
    if site.rank == 0:
        for src in site.peers:
            assert len(site.transport.recv(src, WAIT_S)[1]) == 1_000_000
    else:
        if site.rank != site.num_chips - 1:
            site.transport.recv(site.rank + 1, WAIT_S)
        site.transport.send(0, b"large", bytes(1_000_000))
        if site.rank > 1:
            site.transport.send(site.rank - 1, b"your turn")


def any_traffic_arrives(site: Site, run_id: int) -> None:
    """A random plan that all chips know, with no meeting inside."""
    dice = random.Random(run_id)
    for _ in range(150):
        src, dst = dice.randrange(site.num_chips), dice.randrange(site.num_chips)
        size = dice.choice((0, 10, 5_000, 70_000, 400_000))
        if src == site.rank:
            site.transport.send(dst, bytes(size % 97), bytes(size))
        if dst == site.rank:
            header, payload = site.transport.recv(src, WAIT_S)
            assert (len(header), len(payload)) == (size % 97, size)


def a_wait_ends_when_the_frame_comes(site: Site, run_id: int) -> None:
    left, right = (site.rank - 1) % site.num_chips, (site.rank + 1) % site.num_chips
    if site.rank == 0:
        time.sleep(0.2)
        site.transport.send(right, b"token")
    assert site.transport.recv(left, WAIT_S)[0] == b"token"
    if site.rank != 0:
        site.transport.send(right, b"token")


def a_wait_has_a_limit_and_says_for_whom(site: Site, run_id: int) -> None:
    src = site.peers[0]
    with pytest.raises(RecvTimeout) as caught:
        site.transport.recv(src, 0.05)
    error = caught.value
    assert (error.rank, error.src, error.waited_s) == (site.rank, src, 0.05)
    assert f"from chip {src}" in str(error) and "0.05 s" in str(error)
    site.meet()
    frames_arrive_whole_and_in_order(site, run_id)


def an_abort_wakes_everybody_whoever_they_wait_for(site: Site, run_id: int) -> None:
    last = site.num_chips - 1
    if site.rank == last:
        time.sleep(0.2)
        site.transport.abort(run_id)
        return
    started = time.monotonic()
    with pytest.raises(PeerAborted) as caught:
        site.transport.recv((site.rank + 1) % last if last > 1 else last, WAIT_S)
    assert (caught.value.peer, caught.value.run_id) == (last, run_id)
    assert time.monotonic() - started < WAIT_S / 2
    with pytest.raises(PeerAborted):  # and so does every later wait of the run
        site.transport.recv(last, WAIT_S)


def an_abort_ends_its_run_only(site: Site, run_id: int) -> None:
    site.transport.abort(run_id)
    site.meet()
    site.transport.begin_run(run_id + 1)
    frames_arrive_whole_and_in_order(site, run_id + 1)
    site.meet()
    site.transport.abort(run_id)  # late, of a run that is over
    site.meet()
    frames_arrive_whole_and_in_order(site, run_id + 1)


def a_new_run_forgets_the_earlier_one(site: Site, run_id: int) -> None:
    """Unread frames, and one that was given up half-way, are gone; early new ones are kept."""
    dst, src = (site.rank + 1) % site.num_chips, (site.rank - 1) % site.num_chips
    for _ in range(3):
        site.transport.send(dst, b"old", b"old")
    if site.rank == 0:
        try:
            site.transport.send(dst, b"old", bytes(2_000_000), timeout_s=0.1)
        except SendTimeout as error:
            assert (error.rank, error.dst) == (0, dst) and error.num_bytes_left > 0
    site.meet()
    is_early = {rank: rank > 0 and rank % 2 == 0 for rank in range(site.num_chips)}
    if is_early[site.rank]:  # it sends while its peer is still in the earlier run
        site.transport.begin_run(run_id + 1)
        site.transport.send(dst, b"new", b"early")
        site.meet()
    else:
        site.meet()
        site.transport.begin_run(run_id + 1)
        site.transport.send(dst, b"new", b"late")
    header, payload = site.transport.recv(src, WAIT_S)
    assert (header, bytes(payload)) == (b"new", b"early" if is_early[src] else b"late")
    with pytest.raises((RecvTimeout, FabricHang)):  # whichever a transport can tell
        site.transport.recv(src, 0.02)
    assert site.transport.statistics().num_frames_dropped > 0


def statistics_count_what_was_carried(site: Site, run_id: int) -> None:
    before = site.transport.statistics()
    for dst in site.peers:
        site.transport.send(dst, b"four", bytes(1000))
    for src in site.peers:
        site.transport.recv(src, WAIT_S)
    after = site.transport.statistics()
    count = len(site.peers)
    assert after.num_frames_sent - before.num_frames_sent == count
    assert after.num_bytes_sent - before.num_bytes_sent == 1004 * count
    assert after.num_frames_received - before.num_frames_received == count
    assert after.num_bytes_received - before.num_bytes_received == 1004 * count


def a_rank_that_is_not_there_is_named(site: Site, run_id: int) -> None:
    with pytest.raises(UnknownRank, match="=99"):
        site.transport.send(99, b"")
    with pytest.raises(UnknownRank):
        site.transport.recv(-1, 0.01)
    with pytest.raises(ValueError, match="run_id"):
        site.transport.begin_run(run_id - 1)


Scenario = Callable[[Site, int], None]
SCENARIOS: tuple[Scenario, ...] = (
    frames_arrive_whole_and_in_order,
    payloads_of_any_kind_are_carried,
    a_payload_may_be_reused_after_send,
    everybody_may_send_before_anybody_receives,
    waiting_for_one_chip_lets_the_others_send,
    any_traffic_arrives,
    a_wait_ends_when_the_frame_comes,
    a_wait_has_a_limit_and_says_for_whom,
    an_abort_wakes_everybody_whoever_they_wait_for,
    an_abort_ends_its_run_only,
    a_new_run_forgets_the_earlier_one,
    statistics_count_what_was_carried,
    a_rank_that_is_not_there_is_named,
)


def _after_close(site: Site) -> None:
    site.transport.close()
    with pytest.raises(TransportClosed):
        site.transport.send(site.peers[0], b"")
    with pytest.raises(TransportClosed):
        site.transport.recv(site.peers[0], 0.01)
    with pytest.raises(TransportClosed):
        site.transport.begin_run(10_000)


def pattern(seed: int, size: int) -> bytes:
    """Bytes that differ from place to place and from seed to seed."""
    return (np.arange(size, dtype=np.uint32) * 7 + seed * 13 >> 3).astype(np.uint8).tobytes()
