"""One sender's byte ring in a receiver's segment: the writing end and the reading end.

`head` counts the bytes ever written (by the sender), `tail` the bytes ever read (by the receiver);
both only grow. A frame is a prefix (header and payload lengths, run id), the header, the payload;
it may be longer than the ring, and then streams through it.

A sender that gave up in the middle of a frame leaves a torn one behind. So a new run begins with a
restart mark: the position from which on everything belongs to the new run. A receiver that resets
first drops all that is there instead. Either way nothing of earlier runs is parsed again.
"""

import struct
from collections import deque

import numpy as np

from ..errors import FrameError
from . import signal
from .segment import HEAD, RESTART_AT, RESTART_RUN, STALLED, TAIL, Segment

PREFIX = struct.Struct("<IIQ")  # header bytes, run id, payload bytes
_CHUNK_BYTES = 1 << 16  # passed on at once, so that both ends of a long frame work at a time
_MAX_HEADER_BYTES = 1 << 24
_MAX_PAYLOAD_BYTES = 1 << 40

Frame = tuple[bytes, memoryview | bytes]


class RingWriter:
    """The end of the ring that `src` writes."""

    def __init__(self, segment: Segment, src: int) -> None:
        self._buffer = segment.buffer
        self._at, ring = segment.ring(src)
        self._ring = ring.data
        self._size = len(ring)
        self._head = signal.load64(self._buffer, self._at + HEAD)
        self._tail = signal.load64(self._buffer, self._at + TAIL)

    def write(self, data: memoryview | bytes) -> int:
        """Write as much as there is space for, up to a chunk; says how many bytes."""
        if len(data) > self._size - (self._head - self._tail):
            self._tail = signal.load64(self._buffer, self._at + TAIL)
        count = min(len(data), self._size - (self._head - self._tail), _CHUNK_BYTES)
        if count:
            position = self._head % self._size
            first = min(count, self._size - position)
            self._ring[position : position + first] = data[:first]
            if first < count:
                self._ring[: count - first] = data[first:count]
            self._head += count
            signal.store64(self._buffer, self._at + HEAD, self._head)
        return count

    def stalled(self) -> bool:
        """Ask the receiver for a ring of the bell when it reads; False if there is space now."""
        signal.store64(self._buffer, self._at + STALLED, 1)
        return signal.load64(self._buffer, self._at + TAIL) == self._tail

    def restart(self, run_id: int) -> None:
        """Mark that a run starts here."""
        signal.store64(self._buffer, self._at + RESTART_AT, self._head)
        signal.store64(self._buffer, self._at + RESTART_RUN, run_id)

    def close(self) -> None:
        """Let go of the segment."""
        self._ring.release()


class RingReader:
    """The end of the ring that the receiver reads: gives whole frames of the current run."""

    def __init__(self, segment: Segment, src: int) -> None:
        self.frames: deque[Frame] = deque()
        self.num_dropped = 0
        self._buffer = segment.buffer
        self._at, ring = segment.ring(src)
        self._ring = ring.data
        self._size = len(ring)
        self._tail = signal.load64(self._buffer, self._at + TAIL)
        self._run_id = 0
        self._pending: deque[tuple[int, Frame]] = deque()  # frames of runs still to come
        self._begin_frame()

    def pull(self) -> bool:
        """Read what is there, up to a chunk; did anything come?"""
        head = signal.load64(self._buffer, self._at + HEAD)
        if head == self._tail:
            return False
        head = min(head, self._tail + _CHUNK_BYTES)
        while self._tail < head:
            wanted = self._part[self._filled :]
            self._read(wanted[: head - self._tail])
            if self._filled == len(self._part):
                self._end_part()
        signal.store64(self._buffer, self._at + TAIL, self._tail)
        return True

    def sender_stalled(self) -> bool:
        """Does the sender wait for space? Asking answers its call."""
        if not signal.load64(self._buffer, self._at + STALLED):
            return False
        signal.store64(self._buffer, self._at + STALLED, 0)
        return True

    def reset(self, run_id: int) -> None:
        """Drop everything of earlier runs."""
        head = signal.load64(self._buffer, self._at + HEAD)  # before the mark: see the module
        if signal.load64(self._buffer, self._at + RESTART_RUN) >= run_id:
            start = signal.load64(self._buffer, self._at + RESTART_AT)
        else:
            start = head
        self.num_dropped += len(self.frames) + (self._tail < start)
        self.frames.clear()
        if self._tail < start:
            self._tail = start
            self._begin_frame()
            signal.store64(self._buffer, self._at + TAIL, self._tail)
        self._run_id = run_id
        pending, self._pending = self._pending, deque()
        for frame_run, frame in pending:
            self._accept(frame_run, frame)

    def close(self) -> None:
        """Let go of the segment."""
        self._ring.release()

    def _read(self, into: memoryview) -> None:
        """Copy len(into) bytes out of the ring; there are as many."""
        position = self._tail % self._size
        first = min(len(into), self._size - position)
        into[:first] = self._ring[position : position + first]
        if first < len(into):
            into[first:] = self._ring[: len(into) - first]
        self._tail += len(into)
        self._filled += len(into)

    def _begin_frame(self) -> None:
        self._parts: list[memoryview] = []
        self._begin_part(memoryview(bytearray(PREFIX.size)))

    def _begin_part(self, part: memoryview) -> None:
        self._part, self._filled = part, 0

    def _end_part(self) -> None:
        """A part is whole: prefix, then header, then payload; empty ones are skipped."""
        self._parts.append(self._part)
        if len(self._parts) == 1:
            header_bytes, self._frame_run, self._payload_bytes = PREFIX.unpack(self._part)
            if header_bytes > _MAX_HEADER_BYTES or self._payload_bytes > _MAX_PAYLOAD_BYTES:
                raise FrameError(f"header of {header_bytes} bytes", "a frame: the ring is torn")
            self._begin_part(memoryview(bytearray(header_bytes)))
            if header_bytes:
                return
            self._parts.append(self._part)
        if len(self._parts) == 2 and self._payload_bytes:
            self._begin_part(np.empty(self._payload_bytes, np.uint8).data)
            return
        payload: memoryview | bytes = self._parts[2] if len(self._parts) == 3 else b""
        self._accept(self._frame_run, (bytes(self._parts[1]), payload))
        self._begin_frame()

    def _accept(self, frame_run: int, frame: Frame) -> None:
        if frame_run == self._run_id:
            self.frames.append(frame)
        elif frame_run > self._run_id:
            self._pending.append((frame_run, frame))
        else:
            self.num_dropped += 1
