"""Frames between chips on different hosts, through ZeroMQ.

One PULL socket for each chip, bound to a free port of its node; one PUSH socket for each peer,
made when first needed. No high-water mark: sending never waits. A payload is its own part, never
inside msgpack. With keys, everything is encrypted, only the chips of the mesh get in, and each only
under its own rank. Who is refused, and what is no frame, is counted.
"""

import contextlib
import socket as sockets
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import zmq

from ..auth import Keys
from ..errors import PeerAborted, PortRefused, RecvTimeout, TransportClosed, UnknownRank
from .base import SEND_TIMEOUT_S, Address, Buffer, TransportStatistics, flat, host_id
from .doorkeeper import Doorkeeper

_PREFIX = struct.Struct("<4sBII")  # magic, kind, rank of the sender, run id
_MAGIC = b"mtw1"
_DATA, _ABORT = 0, 1
_COPY_BYTES = 1 << 14  # larger payloads are received without a copy
_HOOK_EVERY_S = 0.01

Frame = tuple[bytes, memoryview | bytes]


class ZmqTransport:
    """A chip's end of a mesh over the network."""

    def __init__(
        self,
        rank: int,
        num_chips: int,
        keys: Keys | None = None,
        node_ip: str | None = None,
    ) -> None:
        self._rank = rank
        self._num_chips = num_chips
        self._keys = keys
        self._run_id = 0
        self._aborted: tuple[int, int] | None = None  # run id, rank
        self._lock = threading.Lock()  # of the PUSH sockets: abort() may come from any thread
        self._context = zmq.Context(io_threads=1)
        self._pull, self._door, url = self._bind(node_ip or _node_ip(keys))
        self._address = Address(rank, host_id(), None, url)
        self._urls: dict[int, str] = {}
        self._pushes: dict[int, zmq.Socket[bytes]] = {}
        self._frames: dict[int, deque[tuple[int, Frame]]] = {}
        self._sent = [0, 0]  # frames, bytes
        self._received = [0, 0]
        self._num_dropped = self._num_refused = 0
        self._closed = False
        self.interrupt: Callable[[], None] | None = None

    @property
    def rank(self) -> int:
        """The chip this end belongs to."""
        return self._rank

    @property
    def address(self) -> Address:
        """Where peers find this end."""
        return self._address

    def connect(self, addresses: Sequence[Address]) -> None:
        """Learn the peers' ports. See Transport."""
        self._check_open()
        with self._lock:
            for address in addresses:
                if address.url is None:
                    continue
                if self._urls.get(address.rank, address.url) != address.url:
                    self._frames.pop(address.rank, None)  # the chip was replaced
                    if (push := self._pushes.pop(address.rank, None)) is not None:
                        push.close(linger=0)
                self._urls[address.rank] = address.url
                self._frames.setdefault(address.rank, deque())

    def send(
        self,
        dst: int,
        header: bytes,
        payload: Buffer | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send a frame; never waits. See Transport.

        Raises:
            PortRefused: the peer has refused this chip's key.
        """
        body = flat(payload)
        self._push(dst, [_PREFIX.pack(_MAGIC, _DATA, self._rank, self._run_id), header, body])
        self._sent[0] += 1
        self._sent[1] += len(header) + len(body)

    def recv(self, src: int, timeout_s: float) -> Frame:
        """The next frame of this run from `src`. See Transport."""
        self._check_open()
        queue = self._frames.get(src)
        if queue is None:
            raise UnknownRank(src, self._num_chips, "not connected")
        deadline = time.monotonic() + timeout_s
        while (frame := self._next(queue)) is None:
            self._raise_if_aborted()  # and read nothing: poll only sees what is unread
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise RecvTimeout(self._rank, src, timeout_s, "a frame")
            self._await_message(left_s)
        self._received[0] += 1
        self._received[1] += len(frame[0]) + len(frame[1])
        return frame

    def abort(self, run_id: int) -> None:
        """Wake every waiting chip with PeerAborted. See Transport."""
        prefix = _PREFIX.pack(_MAGIC, _ABORT, self._rank, run_id)
        for rank in tuple(self._urls):
            with contextlib.suppress(PortRefused):  # the others must hear of it all the same
                self._push(rank, [prefix, b"", b""])

    def begin_run(self, run_id: int) -> None:
        """Start a run. See Transport."""
        self._check_open()
        if not self._run_id <= run_id < 1 << 31:
            raise ValueError(f"run_id (={run_id}) must be >= {self._run_id} and < 2**31")
        self._run_id = run_id
        self._read_all()
        for queue in self._frames.values():
            kept = [entry for entry in queue if entry[0] >= run_id]
            self._num_dropped += len(queue) - len(kept)
            queue.clear()
            queue.extend(kept)

    def check_abort(self) -> None:
        """Raise PeerAborted if a chip aborted this run, as far as messages have come."""
        self._read_all()
        self._raise_if_aborted()

    def _raise_if_aborted(self) -> None:
        if self._aborted is not None and self._aborted[0] == self._run_id:
            raise PeerAborted(self._rank, self._aborted[1], self._run_id)

    def statistics(self) -> TransportStatistics:
        """What was carried so far."""
        sent, received = self._sent, self._received
        refused = self._num_refused + self._door.num_refused
        counted = (sent[0], sent[1], received[0], received[1], self._num_dropped)
        return TransportStatistics(*counted, num_refused=refused)

    def close(self) -> None:
        """Close the sockets and stop ZeroMQ's threads. See Transport."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for push in self._pushes.values():
                push.close(linger=0)
            self._pushes.clear()
        self._door.close()
        self._pull.close(linger=0)
        self._context.term()

    def _bind(self, node_ip: str) -> tuple["zmq.Socket[bytes]", Doorkeeper, str]:
        socket = self._context.socket(zmq.PULL)
        socket.set_hwm(0)
        socket.linger = 0
        if ":" in node_ip:
            socket.ipv6 = True
        door = Doorkeeper(self._context, socket, self._keys)
        url = f"tcp://[{node_ip}]:*" if ":" in node_ip else f"tcp://{node_ip}:*"
        try:
            socket.bind(url)
        except zmq.ZMQError as error:
            door.close()
            socket.close(linger=0)
            self._context.term()
            raise PortRefused(url, str(error)) from error
        endpoint: bytes = socket.getsockopt(zmq.LAST_ENDPOINT)  # type: ignore[assignment]
        return socket, door, endpoint.rstrip(b"\0").decode()

    def _push(self, dst: int, parts: Sequence[memoryview | bytes]) -> None:
        with self._lock:
            self._check_open()
            socket = self._pushes.get(dst)
            if socket is None:
                socket = self._pushes[dst] = self._open_push(dst)
            try:
                socket.send_multipart(parts, zmq.NOBLOCK, copy=True)
            except zmq.Again as error:  # nothing is ever full: the connection was given up
                raise PortRefused(self._urls[dst], f"chip {dst} refuses this chip") from error

    def _open_push(self, dst: int) -> "zmq.Socket[bytes]":
        url = self._urls.get(dst)
        if url is None:
            raise UnknownRank(dst, self._num_chips, "not connected")
        socket = self._context.socket(zmq.PUSH)
        socket.set_hwm(0)
        socket.linger = 0
        if "[" in url:
            socket.ipv6 = True
        if self._keys is not None:
            socket.curve_publickey, socket.curve_secretkey = self._keys.public, self._keys.secret
            socket.curve_serverkey = self._keys.publics[dst]
        try:
            socket.connect(url)
        except zmq.ZMQError as error:
            socket.close(linger=0)
            raise PortRefused(url, str(error)) from error
        return socket

    def _await_message(self, left_s: float) -> None:
        hook = self.interrupt
        wait_s = left_s if hook is None else min(left_s, _HOOK_EVERY_S)
        came = self._pull.poll(max(1, round(wait_s * 1000)))
        if not came and hook is not None:
            hook()

    def _read_all(self) -> None:
        """Take in what has come, without waiting."""
        while True:
            try:
                parts = self._pull.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                return
            self._take(parts)

    def _take(self, parts: Sequence[zmq.Frame]) -> None:
        """Queue one message; what is no frame of this mesh, or of another chip, is refused."""
        if len(parts) != 3 or len(parts[0]) != _PREFIX.size:
            self._num_refused += 1
            return
        magic, kind, src, run_id = _PREFIX.unpack(parts[0].buffer)
        is_frame = magic == _MAGIC and src in self._frames and kind in (_DATA, _ABORT)
        if not is_frame or not self._is_from(src, parts[0]):
            self._num_refused += 1
        elif kind == _ABORT:
            self._aborted = max(self._aborted or (run_id, src), (run_id, src))
        elif run_id < self._run_id:
            self._num_dropped += 1
        else:
            body = parts[2].buffer if len(parts[2]) > _COPY_BYTES else parts[2].bytes
            self._frames[src].append((run_id, (parts[1].bytes, body)))

    def _is_from(self, src: int, part: zmq.Frame) -> bool:
        """Was it sent by that chip? Without keys, nobody can say."""
        return self._keys is None or part.get("User-Id") == str(src)

    def _next(self, queue: deque[tuple[int, Frame]]) -> Frame | None:
        """The first frame of this run, if it has come."""
        if not (queue and queue[0][0] == self._run_id):
            self._read_all()
        if queue and queue[0][0] == self._run_id:
            return queue.popleft()[1]
        return None

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosed(self._rank)


def _node_ip(keys: Keys | None) -> str:
    """The address that other hosts reach this one at; without keys, this host only."""
    if keys is None:
        return "127.0.0.1"
    with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it asks for the outward interface
        except OSError:
            return "127.0.0.1"
        address: str = probe.getsockname()[0]
        return address
