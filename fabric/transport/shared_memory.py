"""Frames between chips of one host, through byte rings in shared memory.

Each chip owns a segment with one ring a sender; a sender writes into the receiver's segment and
rings its bell. While a send waits for space, this chip reads its own rings into memory, so that
everybody may send before anybody receives, whatever the size.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import PeerAborted, RecvTimeout, SendTimeout, TransportClosed, UnknownRank
from ..flight_recorder import FlightRecorder
from . import signal
from .base import SEND_TIMEOUT_S, Address, Buffer, TransportStatistics, flat, host_id
from .byte_ring import PREFIX, Frame, RingReader, RingWriter
from .flight import new_recorder
from .heap import SharedHeap
from .segment import DOORBELL_AT, HEAP_BYTES, NUM_CHANNELS, RING_BYTES, SLOT_BYTES, Segment
from .window import Window

_SLICE_S = 0.1  # a sleep lasts at most this long before its reasons are looked at again
_HOOK_EVERY_S = 0.01  # the same, when there is a hook to call
_JOIN_BYTES = 1 << 14  # smaller frames are written in one piece


class SharedMemoryTransport:
    """A chip's end of the mesh on one host."""

    def __init__(
        self,
        rank: int,
        num_chips: int,
        slot_bytes: int = SLOT_BYTES,
        ring_bytes: int = RING_BYTES,
        heap_bytes: int = HEAP_BYTES,
    ) -> None:
        self._rank = rank
        self._num_chips = num_chips
        self._own = Segment.create(num_chips, slot_bytes, ring_bytes, heap_bytes)
        self.heap = SharedHeap(self._own)
        self._recorder = new_recorder(rank, self._own.flight)
        self._address = Address(rank, host_id(), self._own.address, None)
        self._segments: dict[int, Segment] = {rank: self._own}
        self._writers: dict[int, RingWriter] = {}
        self._readers: dict[int, RingReader] = {}
        self._windows: dict[int, Window] = {}
        self._sent = [0, 0]  # frames, bytes
        self._received = [0, 0]
        self._closed = False
        self._interrupt: Callable[[], None] | None = None

    @property
    def rank(self) -> int:
        """The chip this end belongs to."""
        return self._rank

    @property
    def address(self) -> Address:
        """Where peers find this end."""
        return self._address

    @property
    def interrupt(self) -> Callable[[], None] | None:
        """Called every few milliseconds of a long wait; may raise to end it."""
        return self._interrupt

    @interrupt.setter
    def interrupt(self, hook: Callable[[], None] | None) -> None:
        self._interrupt = hook
        for window in self._windows.values():
            window.interrupt = hook

    def connect(self, addresses: Sequence[Address]) -> None:
        """Open the segments of the peers on this host; others are left out. See Transport."""
        self._check_open()
        for address in addresses:
            if address.segment is None or address.host_id != self._address.host_id:
                continue
            known = self._segments.get(address.rank)
            if known is None or known.address != address.segment:
                self._disconnect(address.rank)
                self._segments[address.rank] = Segment.open(address.segment)
            if address.rank not in self._writers:
                self._writers[address.rank] = RingWriter(self._segments[address.rank], self._rank)
                self._writers[address.rank].restart(self._own.run_id)
                self._readers[address.rank] = RingReader(self._own, address.rank)
                self._readers[address.rank].reset(self._own.run_id)

    def send(
        self,
        dst: int,
        header: bytes,
        payload: Buffer | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send a frame. See Transport."""
        writer = self._writers.get(dst)
        if writer is None:
            raise self._no_peer(dst)
        body = flat(payload)
        prefix = PREFIX.pack(len(header), self._own.run_id, len(body))
        num_bytes = len(header) + len(body)
        if num_bytes <= _JOIN_BYTES:
            parts: tuple[memoryview | bytes, ...] = (b"".join((prefix, header, body)),)
        else:
            parts = (prefix + header, body)
        bell = self._segments[dst].buffer
        for part in parts:
            written = writer.write(part)
            signal.ring(bell, DOORBELL_AT)
            if written < len(part):
                self._stream(dst, writer, memoryview(part)[written:], timeout_s)
        self._sent[0] += 1
        self._sent[1] += num_bytes

    def recv(self, src: int, timeout_s: float) -> Frame:
        """The next frame of this run from `src`. See Transport."""
        reader = self._readers.get(src)
        if reader is None:
            raise self._no_peer(src)
        if not reader.frames:
            self._await_frame(reader, src, timeout_s)
        frame = reader.frames.popleft()
        self._received[0] += 1
        self._received[1] += len(frame[0]) + len(frame[1])
        return frame

    def abort(self, run_id: int) -> None:
        """Wake every waiting chip of this host with PeerAborted. See Transport."""
        segments = tuple(self._segments.values())
        for segment in segments:
            segment.mark_aborted(run_id, self._rank)
        for segment in segments:
            segment.wake_all()

    def begin_run(self, run_id: int) -> None:
        """Start a run. See Transport."""
        self._check_open()
        if not self._own.run_id <= run_id < 1 << 31:
            raise ValueError(f"run_id (={run_id}) must be >= {self._own.run_id} and < 2**31")
        self._own.run_id = run_id
        for writer in self._writers.values():
            writer.restart(run_id)
        for src, reader in self._readers.items():
            reader.reset(run_id)
            if reader.sender_stalled():
                signal.ring(self._segments[src].buffer, DOORBELL_AT)

    def window(self, group: tuple[int, ...], channel: int) -> Window | None:
        """The group's slots on a channel; None when a member is on another host.

        A channel belongs to one group until the next reset; every member asks for the same.
        """
        self._check_open()
        if self._rank not in group or len(set(group)) != len(group):
            raise ValueError(f"group (={group}) must hold rank {self._rank}, and each rank once")
        if not 0 <= channel < NUM_CHANNELS:
            raise ValueError(f"channel (={channel}) must be in 0..{NUM_CHANNELS - 1}")
        known = self._windows.get(channel)
        if known is not None and known.group == group:
            return known
        if known is not None and known.is_used():
            raise ValueError(f"channel {channel} belongs to group {known.group} in this run")
        if any(rank not in self._segments for rank in group):
            return None
        segments = [self._segments[rank] for rank in group]
        window = Window(group, group.index(self._rank), segments, channel)
        window.interrupt = self._interrupt
        self._windows[channel] = window
        return window

    @property
    def recorder(self) -> FlightRecorder:
        """What this chip does, for whoever wants to know."""
        return self._recorder

    def flights(self) -> dict[int, memoryview]:
        """The flight recorders of the chips of this host that are in this run, by rank."""
        run_id = self._own.run_id
        return {
            rank: segment.flight
            for rank, segment in self._segments.items()
            if segment.run_in_memory() == run_id
        }

    def install_heap(self) -> bool:
        """Let the arrays of this thread be born in shared memory. See SharedHeap.install."""
        return self.heap.install()

    def offset_of(self, array: Any) -> int:
        """Where in this chip's segment the data of an array begins; -1: not there."""
        return self.heap.offset_of(array)

    def check_abort(self) -> None:
        """Read what has come, so that no sender waits for space; raise PeerAborted if need be."""
        self._pull_all()
        by = self._own.aborted_by(self._own.run_id)
        if by is not None:
            raise PeerAborted(self._rank, by, self._own.run_id)

    def statistics(self) -> TransportStatistics:
        """What was carried so far."""
        dropped = sum(reader.num_dropped for reader in self._readers.values())
        sent, received = self._sent, self._received
        return TransportStatistics(sent[0], sent[1], received[0], received[1], dropped)

    def close(self) -> None:
        """Give the memory back. See Transport."""
        if self._closed:
            return
        self._closed = True
        self._recorder.let_go()
        self._windows.clear()
        for rank in tuple(self._segments):
            self._disconnect(rank)
        self.heap.close()
        self._own.close()

    def _await_frame(self, reader: RingReader, src: int, timeout_s: float) -> None:
        wait = _Wait(self, timeout_s)
        while not reader.frames:
            bell = signal.load64(self._own.buffer, DOORBELL_AT)
            if self._pull(src, reader) or self._pull_all():
                continue
            if not wait.for_bell(bell):
                raise RecvTimeout(self._rank, src, timeout_s, "a frame" + self._gone(src))

    def _stream(self, dst: int, writer: RingWriter, data: memoryview, timeout_s: float) -> None:
        """Write `data` as the receiver makes space, reading our own rings meanwhile."""
        wait = _Wait(self, timeout_s)
        bell_of_dst = self._segments[dst].buffer
        while True:
            bell = signal.load64(self._own.buffer, DOORBELL_AT)
            while written := writer.write(data):
                signal.ring(bell_of_dst, DOORBELL_AT)
                data = data[written:]
            if not len(data):
                return
            if self._pull_all() or not writer.stalled():
                continue
            if not wait.for_bell(bell):
                raise SendTimeout(self._rank, dst, timeout_s, len(data))

    def _pull(self, src: int, reader: RingReader) -> bool:
        if not reader.pull():
            return False
        if reader.sender_stalled():
            signal.ring(self._segments[src].buffer, DOORBELL_AT)
        return True

    def _pull_all(self) -> bool:
        """Read every ring, so that nobody waits for space while this chip waits."""
        filled = [src for src in self._own.filled_rings() if src in self._readers]
        return any([self._pull(src, self._readers[src]) for src in filled])

    def _disconnect(self, rank: int) -> None:
        for ends in (self._writers, self._readers):
            if (end := ends.pop(rank, None)) is not None:
                end.close()
        segment = self._segments.pop(rank, None)
        if segment is not None and segment is not self._own:
            segment.close()

    def _no_peer(self, rank: int) -> Exception:
        if self._closed:
            return TransportClosed(self._rank)
        return UnknownRank(rank, self._num_chips, "not connected on this host")

    def _gone(self, rank: int) -> str:
        """A hint for the error: the peer's process no longer exists."""
        address = self._segments[rank].address
        try:
            state = Path(f"/proc/{address.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            state = "X"
        return f" (process {address.pid} of chip {rank} is gone)" if state in "XZ" else ""

    def _check_open(self) -> None:
        if self._closed:
            raise TransportClosed(self._rank)


class _Wait:
    """A wait with a limit, ended by an abort or by the hook."""

    def __init__(self, transport: SharedMemoryTransport, timeout_s: float) -> None:
        self._transport = transport
        self._buffer = transport._own.buffer
        self._deadline = time.monotonic() + timeout_s

    def for_bell(self, heard: int) -> bool:
        """Sleep until the bell has rung since `heard`; False: the time is out."""
        self._transport.check_abort()
        hook = self._transport.interrupt
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return False
        slice_s = min(left_s, _SLICE_S if hook is None else _HOOK_EVERY_S)
        rung = signal.wait_change(self._buffer, DOORBELL_AT, heard, slice_s)
        if hook is not None and not rung:
            hook()
        return True
