"""The shared memory of one chip: a control page, a byte ring per sender, slots for collectives.

The memory is an anonymous memfd: it has no name, so nothing can be left behind, whatever kills the
process. Peers of the same host open /proc/<pid>/fd/<fd>. The file is sparse: untouched pages cost
nothing. Its size is sealed, so no peer can cut it short under another one's feet.

    control page   token, owner; abort, doorbell, run, one published word a channel: a line each
    ring headers   one a sender: head, restart (written by the sender), tail, stalled
    rings          ring_bytes for each sender
    slots          [channel][parity] of slot_bytes
    heap           heap_bytes: the chip's own tensors (heap.py)
"""

import contextlib
import fcntl
import mmap
import os
import secrets
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import SharedMemoryRefused
from ..flight_layout import FLIGHT_BYTES
from . import signal
from .base import SegmentAddress

NAME = "meshtwin"
"""Of the memfd, as /proc shows it."""
NUM_CHANNELS = 3
SLOT_BYTES = 1 << 20
RING_BYTES = 1 << 18
HEAP_BYTES = 1 << 34
"""What a chip's heap may grow to; untouched, it costs addresses only."""
MOST_ADDRESSES = 1 << 45
"""What the heaps of a mesh may take of one process's 2**47 addresses: threads map n heaps each."""

_PAGE = 4096
_HUGE_PAGE = 1 << 21
_LINE = 64  # cells that different processes write do not share a cache line
TOKEN_AT = 0
OWNER_AT = 16  # the owner's process, written once
ABORT_AT = 1 * _LINE  # run id + 1 of the aborted run; 0: none
ABORT_BY_AT = 2 * _LINE  # rank that aborted it
DOORBELL_AT = 3 * _LINE  # rung when something came in, or space came free
RUN_AT = 4 * _LINE  # the run that the owner is in
CHANNELS_AT = 5 * _LINE
FLIGHT_AT = _PAGE
_RINGS_AT = FLIGHT_AT + -(-FLIGHT_BYTES // _PAGE) * _PAGE
RING_HEADER_BYTES = 2 * _LINE
HEAD, RESTART_RUN, RESTART_AT = 0, 16, 24  # written by the sender
TAIL, STALLED = _LINE, _LINE + 16  # written by the receiver; both clear and set `stalled`

_TOKEN_BYTES = 16
_SEALS = 0x0002 | 0x0004 | 0x0001  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL (linux/fcntl.h)


class Segment:
    """One chip's shared memory, seen from its owner or from a peer."""

    def __init__(self, address: SegmentAddress, buffer: mmap.mmap, close_fd: Callable[[], None]):
        self.address = address
        self.buffer = buffer
        self._run_id = 0
        self.channel_offsets = tuple(CHANNELS_AT + _LINE * c for c in range(NUM_CHANNELS))
        self._bytes: NDArray[np.uint8] | None = np.frombuffer(buffer, np.uint8)
        self._close_fd = close_fd
        header_bytes = -(-address.num_chips * RING_HEADER_BYTES // _PAGE) * _PAGE
        self._rings_at = _RINGS_AT + header_bytes
        self._slots_at = self._rings_at + address.num_chips * address.ring_bytes
        self.heap_at = address.num_bytes - address.heap_bytes
        self.heap_bytes = min(address.heap_bytes, len(buffer) - self.heap_at)  # 0 if not mapped
        if self.heap_bytes:
            with contextlib.suppress(OSError):  # a kernel without them: more page faults
                buffer.madvise(mmap.MADV_HUGEPAGE, self.heap_at, self.heap_bytes)

    @property
    def flight(self) -> memoryview:
        """The flight recorder of the owner."""
        return self._view(FLIGHT_AT, FLIGHT_BYTES).data

    def run_in_memory(self) -> int:
        """The run that the owner is in, as it is in the memory."""
        return signal.load64(self.buffer, RUN_AT)

    @property
    def run_id(self) -> int:
        """The run that the owner is in. It is also in the memory, for compiled code."""
        return self._run_id

    @run_id.setter
    def run_id(self, run_id: int) -> None:
        self._run_id = run_id
        signal.store64(self.buffer, RUN_AT, run_id)

    @classmethod
    def create(
        cls,
        num_chips: int,
        slot_bytes: int = SLOT_BYTES,
        ring_bytes: int = RING_BYTES,
        heap_bytes: int = HEAP_BYTES,
    ) -> "Segment":
        """New memory for a chip of a mesh of `num_chips`.

        The heap becomes smaller than `heap_bytes`, or nothing, where so many addresses are not
        to be had.

        Raises:
            SharedMemoryRefused: this system has no memfd, no /proc, or no memory to give.
        """
        if not sys.platform.startswith("linux"):
            raise SharedMemoryRefused("memfd_create", f"not on {sys.platform}")
        header_bytes = -(-num_chips * RING_HEADER_BYTES // _PAGE) * _PAGE
        num_slots = 2 * NUM_CHANNELS
        num_bytes = _RINGS_AT + header_bytes + num_chips * ring_bytes + num_slots * slot_bytes
        try:
            fd = os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise SharedMemoryRefused("memfd_create", str(error)) from error
        token = secrets.token_bytes(_TOKEN_BYTES)
        most = MOST_ADDRESSES // num_chips**2
        try:
            buffer, heap_bytes = _map_with_heap(fd, num_bytes, min(heap_bytes, most))
            sizes = (len(buffer), num_chips, slot_bytes, ring_bytes, heap_bytes)
            address = SegmentAddress(os.getpid(), fd, *sizes, token)
            buffer[TOKEN_AT : TOKEN_AT + _TOKEN_BYTES] = token
            signal.store64(buffer, OWNER_AT, address.pid)
            cls.open(address).close()  # can others reach it?
        except (OSError, ValueError, SharedMemoryRefused) as error:
            os.close(fd)
            raise SharedMemoryRefused(f"{num_bytes} bytes", str(error)) from error
        return cls(address, buffer, lambda: os.close(fd))

    @classmethod
    def open(cls, address: SegmentAddress) -> "Segment":
        """The memory of a peer on this host.

        Raises:
            SharedMemoryRefused: the peer is gone, or this user may not look at it.
        """
        path = f"/proc/{address.pid}/fd/{address.fd}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise SharedMemoryRefused(f"open {path}", str(error)) from error
        try:
            try:
                buffer = mmap.mmap(fd, address.num_bytes)
            except OSError:  # no addresses left for its heap: then without
                buffer = mmap.mmap(fd, address.num_bytes - address.heap_bytes)
        except (OSError, ValueError) as error:
            raise SharedMemoryRefused(f"map {path}", str(error)) from error
        finally:
            os.close(fd)
        if buffer[TOKEN_AT : TOKEN_AT + _TOKEN_BYTES] != address.token:
            buffer.close()
            raise SharedMemoryRefused(
                f"map {path}", "another process took the number of the chip's"
            )
        return cls(address, buffer, lambda: None)

    def ring(self, src: int) -> tuple[int, NDArray[np.uint8]]:
        """Where the header of the ring from `src` is, and its bytes."""
        start = self._rings_at + src * self.address.ring_bytes
        return _RINGS_AT + src * RING_HEADER_BYTES, self._view(start, self.address.ring_bytes)

    def filled_rings(self) -> list[int]:
        """Senders that have written what the owner has not read yet."""
        num_bytes = self.address.num_chips * RING_HEADER_BYTES
        headers = self._view(_RINGS_AT, num_bytes).view(np.uint64).reshape(-1, 16)
        filled: list[int] = np.flatnonzero(headers[:, HEAD // 8] != headers[:, TAIL // 8]).tolist()
        return filled

    def slot(self, channel: int, parity: int) -> NDArray[np.uint8]:
        """The slot that publishes of that parity use on a channel."""
        return self._view(self.slot_at(channel, parity), self.address.slot_bytes)

    def slot_at(self, channel: int, parity: int) -> int:
        """Where that slot begins in the memory."""
        return self._slots_at + (2 * channel + parity) * self.address.slot_bytes

    def mark_aborted(self, run_id: int, by: int) -> None:
        """Tell the owner that `by` aborted a run. Wakes nobody yet."""
        if signal.load64(self.buffer, ABORT_AT) < run_id + 1:
            signal.store64(self.buffer, ABORT_BY_AT, by)
            signal.store64(self.buffer, ABORT_AT, run_id + 1)

    def aborted_by(self, run_id: int) -> int | None:
        """The rank that aborted this run, if one did."""
        if signal.load64(self.buffer, ABORT_AT) != run_id + 1:
            return None
        return signal.load64(self.buffer, ABORT_BY_AT)

    def wake_all(self) -> None:
        """Wake the owner, and whoever sleeps on a word of this segment."""
        signal.ring(self.buffer, DOORBELL_AT)
        for offset in self.channel_offsets:
            signal.wake(self.buffer, offset)

    def close(self) -> None:
        """Unmap it; views that somebody still holds keep it mapped until they go."""
        self._bytes = None
        with contextlib.suppress(BufferError):
            self.buffer.close()
        self._close_fd()
        self._close_fd = lambda: None

    def _view(self, start: int, num_bytes: int) -> NDArray[np.uint8]:
        assert self._bytes is not None, "segment used after close()"
        return self._bytes[start : start + num_bytes]


def _map_with_heap(fd: int, num_bytes: int, heap_bytes: int) -> tuple[mmap.mmap, int]:
    """Map `num_bytes` and as much of a heap behind them as the system lets us; and how much."""
    while True:
        heap_bytes -= heap_bytes % _HUGE_PAGE
        total = (
            num_bytes if not heap_bytes else -(-num_bytes // _HUGE_PAGE) * _HUGE_PAGE + heap_bytes
        )
        try:
            os.truncate(fd, total)
            buffer = mmap.mmap(fd, total)
        except OSError:
            if not heap_bytes:
                raise
            heap_bytes //= 4
        else:
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            return buffer, heap_bytes
