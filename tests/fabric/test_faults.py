"""What happens when a chip dies, is replaced, or stops in the middle of a frame."""

import contextlib
import os
import signal
import time

import pytest

from meshtwin.fabric.errors import PeerAborted, RecvTimeout, SendTimeout
from meshtwin.fabric.transport.base import Transport
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport

from .fabric_harness import Died, Opener, Site, run_in_processes


def open_shared(rank: int, num_chips: int) -> Transport:
    return open_transport(rank, num_chips, "shared_memory")


def open_zeromq(rank: int, num_chips: int) -> Transport:
    return open_transport(rank, num_chips, "zeromq")


def die_and_let_the_others_go_on(site: Site) -> str:
    """The last chip is killed with half a frame sent; the others notice, and then work on."""
    last = site.num_chips - 1
    site.transport.begin_run(1)
    site.meet()
    if site.rank == last:
        site.transport.send(0, b"whole", b"frame")
        time.sleep(0.2)  # what ZeroMQ's thread has not sent yet would die with it
        with contextlib.suppress(SendTimeout):
            site.transport.send(0, b"half", bytes(1_000_000), timeout_s=0.1)
        os.kill(os.getpid(), signal.SIGKILL)
    if site.rank == 0:
        time.sleep(0.4)
        assert site.transport.recv(last, 30.0)[0] == b"whole"
        site.transport.abort(1)
    else:
        with pytest.raises(PeerAborted):
            site.transport.recv(last, 30.0)
    survivors = range(last)
    site.transport.begin_run(2)
    for dst in survivors:
        site.transport.send(dst, b"on", bytes(500_000))
    for src in survivors:
        header, payload = site.transport.recv(src, 30.0)
        assert (header, len(payload)) == (b"on", 500_000)
    with pytest.raises(RecvTimeout) as caught:
        site.transport.recv(last, 0.05)
    return str(caught.value)


@pytest.mark.parametrize("opener", [open_shared, open_zeromq])
def test_a_killed_peer_does_not_hurt_the_others(opener: Opener) -> None:
    answers = run_in_processes(die_and_let_the_others_go_on, opener, 3)
    assert answers[2] == Died(-signal.SIGKILL)
    assert all("from chip 2" in text for text in answers[:2])
    if opener is open_shared:
        assert "of chip 2 is gone" in answers[0]


def test_a_replaced_chip_is_found_by_connecting_again() -> None:
    ends = [SharedMemoryTransport(rank, 2) for rank in range(2)]
    for end in ends:
        end.connect([peer.address for peer in ends])
        end.begin_run(4)
    ends[1].send(0, b"old")
    with pytest.raises(SendTimeout):
        ends[1].send(0, b"torn", bytes(1_000_000), timeout_s=0.01)
    ends[1].close()
    ends[1] = SharedMemoryTransport(1, 2)
    for end in ends:
        end.connect([peer.address for peer in ends])
    for end in ends:
        end.begin_run(5)
    ends[1].send(0, b"new")
    ends[0].send(1, b"hello")
    assert ends[0].recv(1, 1.0) == (b"new", b"")
    assert ends[1].recv(0, 1.0) == (b"hello", b"")
    for end in ends:
        end.close()


def test_what_is_sent_before_the_receiver_has_connected_is_kept() -> None:
    early, late = ends = [SharedMemoryTransport(rank, 2) for rank in range(2)]
    addresses = [end.address for end in ends]
    early.connect(addresses)
    early.begin_run(3)
    early.send(1, b"early", b"bird")
    late.connect(addresses)
    late.begin_run(3)
    assert late.recv(0, 1.0)[0] == b"early"
    for end in ends:
        end.close()


def test_the_receiver_may_begin_the_run_before_the_sender_does() -> None:
    ends = [SharedMemoryTransport(rank, 2) for rank in range(2)]
    for end in ends:
        end.connect([peer.address for peer in ends])
    with pytest.raises(SendTimeout):
        ends[1].send(0, b"torn", bytes(1_000_000), timeout_s=0.01)
    ends[0].begin_run(1)
    ends[1].begin_run(1)
    ends[1].send(0, b"new", b"whole")
    assert ends[0].recv(1, 1.0)[0] == b"new"
    for end in ends:
        end.close()
