"""Opening a transport: which road goes where, and what is refused."""

import time
from pathlib import Path

import pytest
import zmq

from meshtwin.fabric.auth import Keys
from meshtwin.fabric.errors import PortRefused, SharedMemoryRefused, UnknownRank
from meshtwin.fabric.transport import pair, zeromq
from meshtwin.fabric.transport.pair import PairTransport, open_transport
from meshtwin.fabric.transport.segment import Segment
from meshtwin.fabric.transport.zeromq import ZmqTransport


def opened(*modes: str) -> list[PairTransport]:
    ends = [open_transport(rank, len(modes), mode) for rank, mode in enumerate(modes)]
    for end in ends:
        end.connect([peer.address for peer in ends])
    return ends


def counts() -> list[int]:
    """Threads and open files of this process, when threads that have ended are gone."""
    counted: list[int] = []
    while counted != (counted := _counts()):
        time.sleep(0.05)
    return counted


def _counts() -> list[int]:
    return [len(list(Path(f"/proc/self/{kind}").iterdir())) for kind in ("task", "fd")]


def close(*ends: PairTransport | ZmqTransport) -> None:
    for end in ends:
        end.close()


def test_chips_of_one_host_share_memory_unless_told_otherwise() -> None:
    ends = opened("auto", "auto", "zeromq")
    assert ends[0].kinds() == {0: "shared_memory", 1: "shared_memory", 2: "zeromq"}
    assert ends[2].kinds() == {0: "zeromq", 1: "zeromq", 2: "zeromq"}
    assert ends[0].window((0, 1), 0) is not None
    assert ends[0].window((0, 1, 2), 0) is None
    for src in range(3):
        for dst in range(3):
            ends[src].send(dst, b"from", bytes([src]))
            assert bytes(ends[dst].recv(src, 10.0)[1]) == bytes([src])
    assert ends[2].statistics().num_frames_sent == 3
    close(*ends)


def test_where_memory_is_refused_auto_goes_over_the_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*args: object) -> Segment:
        raise SharedMemoryRefused("memfd_create", "not permitted")

    monkeypatch.setattr(Segment, "create", refuse)
    ends = opened("auto", "auto")
    assert set(ends[0].kinds().values()) == {"zeromq"}
    with pytest.raises(SharedMemoryRefused):
        open_transport(0, 2, "shared_memory")
    close(*ends)


def test_shared_memory_alone_cannot_reach_another_host(monkeypatch: pytest.MonkeyPatch) -> None:
    near = open_transport(0, 2, "shared_memory")
    monkeypatch.setattr(pair, "host_id", lambda: "elsewhere")
    far = open_transport(1, 2, "shared_memory")
    with pytest.raises(SharedMemoryRefused, match="chip 1 is on another host"):
        near.connect([near.address, far.address])
    close(near, far)


def test_wrong_arguments_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"mode \(='smoke'\)"):
        open_transport(0, 1, "smoke")
    with pytest.raises(UnknownRank):
        open_transport(4, 4)
    alone = open_transport(0, 2, "shared_memory")
    with pytest.raises(ValueError, match="one for each chip"):
        alone.connect([alone.address])
    alone.close()


def test_an_address_that_cannot_be_bound_is_refused_and_leaves_nothing() -> None:
    before = counts()
    with pytest.raises(PortRefused, match=r"192\.0\.2\.1"):
        open_transport(0, 1, "auto", node_ip="192.0.2.1")
    assert counts() == before


def test_closing_leaves_no_thread_and_no_socket() -> None:
    before = counts()
    ends = opened("auto", "zeromq")
    ends[0].send(1, b"unread", bytes(1_000_000))
    close(*ends)
    assert counts() == before


def test_what_is_no_frame_is_refused_and_counted() -> None:
    end = ZmqTransport(0, 1)
    end.connect([end.address])
    with zmq.Context() as context, context.socket(zmq.PUSH) as stranger:
        stranger.connect(str(end.address.url))
        for parts in ([b"hi"], [b"x" * 13, b"", b""], [b"mtw1" + bytes(9), b"h", b"p", b"q"]):
            stranger.send_multipart(parts)
        stranger.send_multipart([b"mtw1\0\0\0\0\0\0\0\0\0", b"h", b"p"])
        assert end.recv(0, 10.0) == (b"h", b"p")
    assert end.statistics().num_refused == 3
    assert end.statistics().num_frames_dropped == 0
    end.close()


def test_without_keys_only_this_host_gets_in() -> None:
    end = ZmqTransport(0, 1)
    assert str(end.address.url).startswith("tcp://127.0.0.1:")
    end.close()
    assert zeromq._node_ip(None) == "127.0.0.1"
    assert zeromq._node_ip(Keys(b"", b"", ())).count(".") == 3
