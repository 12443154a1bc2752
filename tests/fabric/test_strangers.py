"""Strangers at the port of a chip: refused, and counted; what they send never becomes a frame."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import zmq

from meshtwin.fabric.auth import Keys, new_keys
from meshtwin.fabric.errors import PortRefused, RecvTimeout
from meshtwin.fabric.transport.zeromq import ZmqTransport

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")

LIMIT_S = 20.0


def open_end(rank: int, num_chips: int, keys: Keys | None) -> ZmqTransport:
    return ZmqTransport(rank, num_chips, keys=keys, node_ip="127.0.0.1")


@pytest.fixture
def mesh() -> Iterator[list[ZmqTransport]]:
    """Three chips over encrypted ZeroMQ."""
    ends = [open_end(rank, 3, keys) for rank, keys in enumerate(new_keys(3))]
    for end in ends:
        end.connect([peer.address for peer in ends])
    yield ends
    for end in ends:
        end.close()


def port(end: ZmqTransport) -> int:
    return int(str(end.address.url).rpartition(":")[2])


def await_true(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def num_refused(end: ZmqTransport) -> int:
    with contextlib.suppress(RecvTimeout):
        end.recv(end.rank, 0.0)  # reads what has come
    return end.statistics().num_refused


def knock(stranger: ZmqTransport) -> None:
    """Send a frame to chip 0, which may have refused the connection already."""
    with contextlib.suppress(PortRefused):
        stranger.send(0, b"let me in")


def check_that_nothing_came_in(mesh: list[ZmqTransport]) -> None:
    """Strangers at chip 0 were counted; the chips still talk, and nothing else has arrived."""
    await_true(lambda: num_refused(mesh[0]) > 0)
    for src in (1, 2):
        with pytest.raises(RecvTimeout):
            mesh[0].recv(src, 0.05)
        mesh[src].send(0, b"friend", bytes([src]))
        assert mesh[0].recv(src, LIMIT_S) == (b"friend", bytes([src]))
    assert mesh[0].statistics().num_frames_received == 2
    assert mesh[1].statistics().num_refused == mesh[2].statistics().num_refused == 0


def test_chips_of_the_mesh_are_let_in_and_nobody_is_refused(mesh: list[ZmqTransport]) -> None:
    for src in mesh:
        for dst in mesh:
            src.send(dst.rank, b"friend")
            assert dst.recv(src.rank, LIMIT_S)[0] == b"friend"
    assert [end.statistics().num_refused for end in mesh] == [0, 0, 0]


def test_a_client_without_a_key_is_refused(mesh: list[ZmqTransport]) -> None:
    stranger = open_end(1, 3, None)
    stranger.connect([mesh[0].address])
    knock(stranger)
    check_that_nothing_came_in(mesh)
    stranger.close()


def test_the_key_of_another_mesh_is_refused(mesh: list[ZmqTransport]) -> None:
    stranger = open_end(1, 3, new_keys(3)[1])
    stranger.connect([mesh[0].address])
    knock(stranger)
    check_that_nothing_came_in(mesh)
    stranger.close()


def test_who_knows_the_public_keys_but_holds_no_secret_one_is_refused(
    mesh: list[ZmqTransport],
) -> None:
    known = mesh[0]._keys
    own = new_keys(1)[0]
    assert known is not None and own is not None
    stranger = open_end(1, 3, own._replace(publics=known.publics))
    stranger.connect([mesh[0].address])
    knock(stranger)
    check_that_nothing_came_in(mesh)
    stranger.close()


GARBAGE = {
    "text": b"GET / HTTP/1.1\r\nHost: chip\r\n\r\n",
    "zeros": bytes(200),
    "ones": b"\xff" * 200,
    "nothing": b"",
    "half a greeting": b"\xff" + bytes(8) + b"\x7f\x03\x00CUR",
    "another mechanism": b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(48),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_plain_tcp_and_garbage_are_refused(mesh: list[ZmqTransport], kind: str) -> None:
    with socket.create_connection(("127.0.0.1", port(mesh[0])), LIMIT_S) as stranger:
        stranger.sendall(GARBAGE[kind])
        with contextlib.suppress(OSError):  # refused already
            stranger.shutdown(socket.SHUT_WR)
        check_that_nothing_came_in(mesh)


def test_a_chip_cannot_pass_for_another(mesh: list[ZmqTransport]) -> None:
    mesh[1]._rank = 2
    mesh[1].send(0, b"I am chip 2")
    mesh[1].abort(0)  # in the name of chip 2
    mesh[1]._rank = 1
    await_true(lambda: num_refused(mesh[0]) == 2)
    with pytest.raises(RecvTimeout):
        mesh[0].recv(2, 0.05)
    mesh[1].send(0, b"I am chip 1")
    assert mesh[0].recv(1, LIMIT_S)[0] == b"I am chip 1"


def test_a_rank_that_is_not_in_the_mesh_is_refused(mesh: list[ZmqTransport]) -> None:
    mesh[1]._rank = 7
    mesh[1].send(0, b"I am chip 7")
    await_true(lambda: num_refused(mesh[0]) == 1)


class RecordingProxy:
    """Passes TCP on to a port, both ways, and keeps what the client sent."""

    def __init__(self, port: int) -> None:
        self.recorded = bytearray()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve, args=(port,))]
        self._threads[0].start()

    def _serve(self, port: int) -> None:
        client, _ = self._listener.accept()
        server = socket.create_connection(("127.0.0.1", port), LIMIT_S)
        back = threading.Thread(target=self._pass_on, args=(server, client, None))
        back.start()
        self._pass_on(client, server, self.recorded)
        back.join()
        client.close()
        server.close()

    def _pass_on(self, src: socket.socket, dst: socket.socket, record: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := src.recv(1 << 16):
                if record is not None:
                    record += data
                dst.sendall(data)
        with contextlib.suppress(OSError):
            dst.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """When the client has gone."""
        self._threads[0].join(LIMIT_S)
        self._listener.close()


def test_recorded_bytes_of_a_session_cannot_be_played_again(mesh: list[ZmqTransport]) -> None:
    proxy = RecordingProxy(port(mesh[0]))
    keys = mesh[1]._keys
    client = open_end(1, 3, keys)
    client.connect([replace(mesh[0].address, url=f"tcp://127.0.0.1:{proxy.port}")])
    client.send(0, b"pay 100", b"once")
    assert mesh[0].recv(1, LIMIT_S) == (b"pay 100", b"once")
    client.close()
    proxy.close()
    assert len(proxy.recorded) > 300 and b"pay 100" not in proxy.recorded
    before = num_refused(mesh[0])
    with socket.create_connection(("127.0.0.1", port(mesh[0])), LIMIT_S) as stranger:
        stranger.sendall(proxy.recorded)
        await_true(lambda: num_refused(mesh[0]) > before)
    with pytest.raises(RecvTimeout):
        mesh[0].recv(1, 0.1)
    assert mesh[0].statistics().num_frames_received == 1


def test_who_is_refused_is_told_so_and_does_not_wait(mesh: list[ZmqTransport]) -> None:
    stranger = open_end(1, 3, None)
    stranger.connect([mesh[0].address])
    with pytest.raises(PortRefused, match="chip 0 refuses this chip"):
        deadline = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline:
            stranger.send(0, b"let me in")
            time.sleep(0.005)
    stranger.close()


def test_keys_are_not_shown() -> None:
    keys = new_keys(2)[0]
    assert keys is not None
    assert str(keys.secret) not in repr([keys]) and "secret" not in repr(keys)
