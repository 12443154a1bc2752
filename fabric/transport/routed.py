"""Frames in packets, hop by hop: each chip hands packets only to the neighbours that a link joins.

A transport over another one. The program's thread queues frames and takes them out; a thread of
its own, as the Ethernet cores of a chip, cuts, forwards, checks and puts together, whatever the
program does meanwhile. All the rules are in fabric/router.py; this file only waits and carries.

Frames between neighbours take the inner transport; aborts take it directly to every chip, since
they stand for what the host does to the chips and not for what goes over their links.
"""

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue

from .. import routing
from ..channels import channels
from ..errors import (
    LinkGaveUp,
    RecvTimeout,
    SendTimeout,
    TransportClosed,
    UnknownRank,
)
from ..fate import UNNUMBERED, Fates, Link
from ..flight_recorder import FlightRecorder
from ..link_status import NUM_CREDITS, PacketStatistics
from ..reassembly import join
from ..router import Message, Router
from ..topology import Box
from .base import SEND_TIMEOUT_S, Address, Buffer, Transport, TransportStatistics, flat
from .flight import new_recorder
from .pair import PairTransport
from .polling import open_poller
from .shared_memory import SharedMemoryTransport

_QUEUE_BYTES = 1 << 24  # that wait to be cut; a send beyond waits
_HAND_OVER_S = 5.0  # for a neighbour to take a packet: credits keep far less than a ring under way
_LINGER_S = 0.3  # for what is under way when the next run begins
_SLEEP_S = 1.0

HAVE_FLIGHTS = (PairTransport, SharedMemoryTransport)

RouteChoice = Callable[[int, int, int], Sequence[int]]
"""(src, dst, number of the message in this run) -> ranks, both ends included."""


class RoutedTransport:
    """A chip's end of a mesh whose frames go over the links of a box, in packets."""

    def __init__(
        self,
        inner: Transport,
        box: Box,
        fates: Fates | None = None,
        num_credits: int = NUM_CREDITS,
        capture: list[tuple[int, bytes]] | None = None,
        is_numbered: bool = True,
    ) -> None:
        """Own `inner` from now on.

        Args:
            inner: shared memory, ZeroMQ or both; nobody else may send or receive on it.
            fates: what the links do to packets; None: every packet arrives.
            num_credits: places in a receiver's buffer, for each link and virtual channel.
            is_numbered: False: what is sent without a number, such as the words by which chips
                agree on what to do, gets across whatever the links do.
            capture: takes (chip, bytes) of all that is handed to this chip.
        """
        self.choose_route: RouteChoice = lambda src, dst, _: routing.route(box, src, dst)
        self._inner, self._box, self._rank = inner, box, inner.rank
        self._fates, self._num_credits, self._capture = fates, num_credits, capture
        self._recorder = (
            inner.recorder if isinstance(inner, HAVE_FLIGHTS) else new_recorder(inner.rank)
        )
        self._base = 0 if is_numbered else UNNUMBERED
        self._poller = open_poller(inner)
        self._changed = threading.Condition()  # guards what both threads use, down to _links
        self._frames: dict[int, deque[tuple[bytes, memoryview | bytes]]] = {}
        self._failure: Exception | None = None  # of this run: ends every wait
        self._num_queued_bytes = 0
        self._num_dropped = 0
        self._links: dict[Link, PacketStatistics] = {}  # of earlier runs
        self._run_id = self._session = 0
        self._router = self._new_router()
        self._num_messages = 0  # sent in this run
        self._num_messages_to = [0] * box.num_chips
        self._sent, self._received = [0, 0], [0, 0]  # frames, bytes
        self._commands: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._ending: tuple[Callable[[], None], float] | None = None  # a begin_run that lingers
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def rank(self) -> int:
        """The chip this end belongs to."""
        return self._rank

    @property
    def address(self) -> Address:
        """Where peers find this end: that of the inner transport."""
        return self._inner.address

    def connect(self, addresses: Sequence[Address]) -> None:
        """Learn where the peers are, and start to forward. See Transport."""
        self._check_open()
        text = repr(sorted(addresses, key=lambda address: address.rank))
        session = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")

        def reconnect() -> None:
            self._inner.connect(addresses)
            self._session = session
            self._start(self._run_id)

        self._call(reconnect)
        for address in addresses:
            self._frames.setdefault(address.rank, deque())
        if self._thread is None:
            name = f"router of chip {self._rank}"
            self._thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._thread.start()

    def send(
        self,
        dst: int,
        header: bytes,
        payload: Buffer | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
        route: Sequence[int] | None = None,
        message: int | None = None,
    ) -> None:
        """Queue a frame for the router; waits only while much is queued. See Transport.

        Args:
            route: ranks from this chip to `dst`; by default what `choose_route` says.
            message: its number for the `fates`; by default the next of this chip in this run.
        Raises:
            LinkGaveUp: a link of the mesh lost a packet again and again in this run.
        """
        self._check_open()
        if dst not in self._frames:
            raise UnknownRank(dst, self._box.num_chips, "not connected")
        body = flat(payload)
        if dst == self._rank:
            with self._changed:
                self._frames[dst].append((header, bytes(body)))
        else:
            path = self._checked_route(dst, route)
            joined = join(header, body)
            self._await_space(dst, len(joined), timeout_s)
            number = self._base + self._num_messages if message is None else message
            cut = Message(number, self._num_messages_to[dst], path, joined)
            self._num_messages_to[dst] += 1
            self._post(lambda: self._router.inject(cut))
        self._num_messages += 1
        self._sent[0] += 1
        self._sent[1] += len(header) + len(body)

    def recv(self, src: int, timeout_s: float) -> tuple[bytes, memoryview | bytes]:
        """The next frame of this run from `src`. See Transport."""
        self._check_open()
        frames = self._frames.get(src)
        if frames is None:
            raise UnknownRank(src, self._box.num_chips, "not connected")
        with self._changed:
            deadline = time.monotonic() + timeout_s
            while not frames:
                left_s = deadline - time.monotonic()
                self._raise_failure()
                if left_s <= 0:
                    raise RecvTimeout(self._rank, src, timeout_s, "a frame")
                self._changed.wait(left_s)
            frame = frames.popleft()
        self._received[0] += 1
        self._received[1] += len(frame[0]) + len(frame[1])
        return frame

    def abort(self, run_id: int) -> None:
        """Wake every waiting chip with PeerAborted. See Transport."""
        self._inner.abort(run_id)

    def begin_run(self, run_id: int) -> None:
        """Start a run. See Transport.

        What neighbours have been promised is sent on first, for a moment at most.
        """
        self._check_open()
        if not self._run_id <= run_id < 1 << 31:
            raise ValueError(f"run_id (={run_id}) must be >= {self._run_id} and < 2**31")

        def begin() -> None:
            self._inner.begin_run(run_id)
            self._start(run_id)

        self._call(begin, _LINGER_S)

    @property
    def recorder(self) -> FlightRecorder:
        """What this chip does: in shared memory, where the inner transport has any."""
        return self._recorder

    def flights(self) -> Mapping[int, memoryview]:
        """The flight recorders of the chips of this host that are in this run, by rank."""
        inner = self._inner
        return inner.flights() if isinstance(inner, HAVE_FLIGHTS) else {}

    def window(self, group: tuple[int, ...], channel: int) -> None:
        """None: chips that are joined by links share no memory."""
        return

    def statistics(self) -> TransportStatistics:
        """Frames carried; dropped ones include packets of earlier runs. See link_statistics."""
        inner = self._inner.statistics()
        dropped = self._num_dropped + inner.num_frames_dropped
        sent, received = self._sent, self._received
        return TransportStatistics(
            sent[0], sent[1], received[0], received[1], dropped, inner.num_refused
        )

    def link_statistics(self) -> Mapping[Link, PacketStatistics]:
        """Of each link from and to this chip, what this end of it counted, in all runs."""
        with self._changed:
            return _added(self._links, self._router.statistics())

    def close(self) -> None:
        """Stop the router and close the inner transport. See Transport."""
        if self._closed:
            return
        self._closed = True
        if self._thread is not None:
            self._post(lambda: None)
            self._thread.join()
        with self._changed:
            self._changed.notify_all()
        self._inner.close()
        self._poller.close()

    def _checked_route(self, dst: int, route: Sequence[int] | None) -> tuple[int, ...]:
        if route is None:
            route = self.choose_route(self._rank, dst, self._num_messages)
        path = tuple(route)
        channels(self._box, path)  # raises where there is no link
        if len(path) < 2 or (path[0], path[-1]) != (self._rank, dst):
            raise ValueError(f"route (={path}) must lead from chip {self._rank} to chip {dst}")
        return path

    def _await_space(self, dst: int, num_bytes: int, timeout_s: float) -> None:
        """Count `num_bytes` as queued, when no more than _QUEUE_BYTES already are."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._raise_failure()
            while self._num_queued_bytes > _QUEUE_BYTES:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise SendTimeout(self._rank, dst, timeout_s, num_bytes)
                self._changed.wait(left_s)
                self._raise_failure()
            self._num_queued_bytes += num_bytes

    def _raise_failure(self) -> None:
        self._check_open()
        if self._failure is not None:
            raise self._failure

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosed(self._rank)

    def _post(self, command: Callable[[], None]) -> None:
        """Have the router's thread do something soon."""
        self._commands.put(command)
        self._poller.wake()

    def _call(self, function: Callable[[], None], linger_s: float = 0.0) -> None:
        """Do something on the router's thread, and wait until it is done."""
        if self._thread is None:
            function()
            return
        done = threading.Event()
        errors: list[BaseException] = []

        def answer() -> None:
            try:
                function()
            except BaseException as error:
                errors.append(error)
            done.set()

        def linger() -> None:
            self._ending = (answer, time.monotonic() + linger_s)

        self._post(linger)
        done.wait()
        if errors:
            raise errors[0]

    # What follows runs on the router's thread.

    def _start(self, run_id: int) -> None:
        """Forget the earlier run; count what it left behind."""
        with self._changed:
            self._links = dict(_added(self._links, self._router.statistics()))
            self._num_dropped += sum(map(len, self._frames.values()))
            self._num_dropped += self._router.num_unfinished()
            for frames in self._frames.values():
                frames.clear()
            self._run_id, self._failure = run_id, None
            self._num_queued_bytes = self._num_messages = 0
            self._num_messages_to = [0] * self._box.num_chips
            self._router = self._new_router()

    def _new_router(self) -> Router:
        ends = (self._session, self._run_id)
        return Router(self._box, self._rank, *ends, self._fates, self._num_credits)

    def _work(self) -> None:
        while not self._closed:
            try:
                self._step()
            except LinkGaveUp as error:
                self._fail(error)
                self._tell_all(error)
            except Exception as error:  # PeerAborted, or what the inner transport suffers
                self._fail(error)
        self._obey(wait=False)
        if self._ending is not None:
            self._ending[0]()  # nobody is left waiting

    def _step(self) -> None:
        """Do what was asked for, wait for something to come, and carry it on."""
        is_over = self._failure is not None
        has_news = self._obey(wait=is_over and self._ending is None)
        if self._end_run() or is_over:
            return
        for src in self._poller.poll(0.0 if has_news else self._sleep_s()):
            data, _ = self._inner.recv(src, 0.0)
            if self._capture is not None:
                self._capture.append((src, data))
            self._router.take(src, data, time.monotonic())
        self._router.tick(time.monotonic())
        self._hand_over()
        self._deliver()

    def _obey(self, wait: bool) -> bool:
        """Carry out what the program's thread asked for, if anything."""
        has_news = wait or not self._commands.empty()
        if wait:
            self._commands.get()()
        while not self._commands.empty():
            self._commands.get()()
        return has_news

    def _end_run(self) -> bool:
        """Carry out a begin_run when nothing is left to do in the old run, or its time is out."""
        if self._ending is None:
            return False
        function, until_s = self._ending
        if self._failure is None and not self._router.is_idle() and time.monotonic() < until_s:
            return False
        self._ending = None
        function()
        return True

    def _sleep_s(self) -> float:
        if self._ending is not None:
            return 0.001
        at_s = self._router.probe_at_s()
        return _SLEEP_S if at_s is None else max(0.0, at_s - time.monotonic())

    def _hand_over(self) -> None:
        for neighbour, data in self._router.outbox:
            self._inner.send(neighbour, data, None, _HAND_OVER_S)
        self._router.outbox.clear()

    def _deliver(self) -> None:
        router = self._router
        if not router.arrived and not router.num_own_bytes_cut:
            return
        with self._changed:
            for src, frame in router.arrived:
                self._frames[src].append(frame)
            self._num_queued_bytes -= router.num_own_bytes_cut
            self._changed.notify_all()
        router.arrived.clear()
        router.num_own_bytes_cut = 0

    def _fail(self, error: Exception) -> None:
        """Every wait of the program in this run ends with this error."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _tell_all(self, error: LinkGaveUp) -> None:
        if error.link[0] != self._rank:
            return  # it came from the chip at that link, which tells everybody
        for rank in range(self._box.num_chips):
            if rank != self._rank:
                self._inner.send(rank, self._router.down_packet(rank, error), None, _HAND_OVER_S)


def _added(
    before: Mapping[Link, PacketStatistics], more: Mapping[Link, PacketStatistics]
) -> Mapping[Link, PacketStatistics]:
    none = PacketStatistics()
    links = sorted({*before, *more})
    return {link: before.get(link, none) + more.get(link, none) for link in links}
