"""A chip's incoming frames, by what they are: nobody gets what was meant for another call."""

from collections import deque

from ..fabric.frame import FrameHeader, decode_header, encode_header
from ..fabric.transport.base import Transport
from .program import Words

Payload = memoryview | bytes
Frame = tuple[FrameHeader, Payload]


class Mailbox:
    """Sends and receives frames of a kind and number; what comes early is kept."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
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
    ) -> None:
        """Send a frame: `kind` of message `number` of `tag` (a group of chips)."""
        header = FrameHeader(kind, self.rank, dst, 0, tag, number, fields)
        self.transport.send(dst, encode_header(header), words)

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
            data, payload = self.transport.recv(src, timeout_s)
            header = decode_header(data)
            key = (src, header.kind, header.tag, header.sequence)
            if key == wanted:
                return header, payload
            self._early.setdefault(key, deque()).append((header, payload))
