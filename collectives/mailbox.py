"""A chip's incoming frames, by what they are: nobody gets what was meant for another call."""

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from ..fabric.errors import PeerAborted, RecvTimeout
from ..fabric.flight_recorder import FlightRecorder
from ..fabric.frame import FrameHeader, decode_header, encode_header
from ..fabric.transport.any_source import recv_any
from ..fabric.transport.base import Transport
from ..fabric.transport.routed import RoutedTransport
from .faulty import Passage
from .program import Words
from .watch import Watch

Payload = memoryview | bytes
Frame = tuple[FrameHeader, Payload]

Received = TypeVar("Received")
PATIENCE_S = 0.05
"""How long a chip waits before it looks for reasons not to."""


class Mailbox:
    """Sends and receives frames of a kind and number; what comes early is kept."""

    def __init__(
        self, transport: Transport, num_chips: int, watch: Watch, recorder: FlightRecorder
    ) -> None:
        self.transport, self.watch, self.recorder = transport, watch, recorder
        self.others = tuple(chip for chip in range(num_chips) if chip != transport.rank)
        self._early: dict[tuple[int, str, str, int], deque[Frame]] = {}

    @property
    def rank(self) -> int:
        """The chip whose mailbox this is."""
        return self.transport.rank

    def begin_run(self) -> None:
        """Forget what an earlier run left."""
        self._early.clear()

    def send(
        self,
        dst: int,
        kind: str,
        tag: str,
        number: int,
        fields: dict[str, object],
        words: Words | None = None,
        passage: Passage | None = None,
    ) -> None:
        """Send a frame: `kind` of message `number` of `tag` (a call of a group of chips).

        Args:
            passage: the way that it must take, on a transport of links.
        """
        header = FrameHeader(kind, self.rank, dst, 0, tag, number, fields)
        self.recorder.sent_frame(dst)
        if passage is None:
            self.transport.send(dst, encode_header(header), words)
        else:
            assert isinstance(self.transport, RoutedTransport), "faults need links"
            self.transport.send(
                dst, encode_header(header), words,
                route=passage.route, message=passage.message,
            )  # fmt: skip

    def receive_any(self, kind: str, numbers: Mapping[int, int], timeout_s: float) -> Frame:
        """The first frame of that kind to come from any chip; from chip c its `numbers[c]`-th.

        Raises:
            RecvTimeout: none came in time.
            PeerAborted: a chip gave up the run.
        """
        for src, early_kind, tag, number in self._early:
            if early_kind == kind and number == numbers.get(src, 0):
                return self.receive(src, kind, tag, number, timeout_s)
        while True:
            src, data, payload = self._wait(
                lambda s: recv_any(self.transport, self.others, s), self.others, timeout_s
            )
            self.recorder.took_frame(src)
            header = decode_header(data)
            if header.kind == kind and header.sequence == numbers.get(src, 0):
                return header, payload
            key = (src, header.kind, header.tag, header.sequence)
            self._early.setdefault(key, deque()).append((header, payload))

    def receive(self, src: int, kind: str, tag: str, number: int, timeout_s: float) -> Frame:
        """The frame of that kind, tag and number from `src`.

        Raises:
            RecvTimeout: it did not come in time.
            PeerAborted: a chip gave up the run.
        """
        wanted = (src, kind, tag, number)
        early = self._early.get(wanted)
        if early:
            frame = early.popleft()
            if not early:
                del self._early[wanted]
            return frame
        while True:
            data, payload = self._wait(lambda s: self.transport.recv(src, s), (src,), timeout_s)
            self.recorder.took_frame(src)
            header = decode_header(data)
            key = (src, header.kind, header.tag, header.sequence)
            if key == wanted:
                return header, payload
            self._early.setdefault(key, deque()).append((header, payload))

    def stall(self) -> None:
        """Wait until another chip gives up the run.

        Raises:
            PeerAborted: it has.
        """
        while True:
            with suppress(RecvTimeout):
                self.transport.recv(self.others[0], PATIENCE_S)
                self.recorder.took_frame(self.others[0])

    def _wait(
        self, receive: Callable[[float], Received], awaited: tuple[int, ...], timeout_s: float
    ) -> Received:
        """Receive, and look for hangs now and then."""
        waited_s = 0.0
        while True:
            patience_s = min(PATIENCE_S, timeout_s - waited_s)
            try:
                received = receive(patience_s)
            except PeerAborted as error:
                self.watch.aborted(awaited, error.peer)
                raise
            except RecvTimeout as error:
                waited_s += patience_s
                if waited_s >= timeout_s:
                    raise RecvTimeout(error.rank, error.src, timeout_s, error.waiting_for) from None
            else:
                if waited_s:
                    self.watch.over()
                return received
            self.recorder.waits_for_frame(True)
            self.watch.look(awaited, any_of=len(awaited) > 1)
