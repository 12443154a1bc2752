"""A direct view of the slots of a group of chips on one host: the road of collectives.

Each member writes into its own slot, publishes, waits for the others, and reads all slots in
place. Publishes are numbered; odd and even ones use different slots. A member may write its slot
for publish n + 1 while others still read publish n, and since nobody publishes n + 1 before it has
read n, the slot of n is free again once wait_all() of n + 1 returned. So: each publish() is
followed by wait_all(), and by reading, before the next but one is written.

The published word is run id and number in one 64-bit value, so words of earlier runs are simply
too low, and a new run needs no agreement. It is kept nowhere else than in the chip's own segment,
so compiled code (collectives/direct.c) and this window publish in turn on one channel.
"""

import mmap
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import PeerAborted, RecvTimeout
from . import signal
from .segment import ABORT_AT, RUN_AT, Segment

RUN_SHIFT = 32  # a word is run_id << RUN_SHIFT | number of the publish
_HOOK_EVERY_S = 0.01


class WindowLayout(NamedTuple):
    """Where a window's words and slots are, for compiled code; offsets in bytes, alike in all."""

    buffers: tuple[mmap.mmap, ...]  # the members' segments
    member: int  # the index of this chip
    channel_at: int
    slots_at: tuple[int, int]  # by parity
    slot_bytes: int
    run_at: int
    abort_at: int
    heap_at: int  # of this chip
    heap_bytes: int
    sees_heaps: bool  # this chip could map the heaps of all members


class Window:
    """The slots of a group, in group order, on one channel. Made by a transport's window()."""

    def __init__(
        self,
        group: tuple[int, ...],
        index: int,
        segments: Sequence[Segment],
        channel: int,
    ) -> None:
        self.group = group
        self.index = index  # of this chip in the group
        self.channel = channel
        self.slot_bytes = segments[index].address.slot_bytes
        self.interrupt: Callable[[], None] | None = None  # called now and then in long waits
        self._own = segments[index]
        self._offset = self._own.channel_offsets[channel]
        # Not all wait for the same member first: one publish need not wake everybody.
        order = [(index - 1 - i) % len(group) for i in range(len(group) - 1)]
        self._awaited = tuple(order)
        self._buffers = tuple(segments[i].buffer for i in order)
        self._slots = tuple(
            tuple(segment.slot(channel, parity) for segment in segments) for parity in (0, 1)
        )
        self._readable = tuple(tuple(map(_read_only, slots)) for slots in self._slots)
        self._segments = tuple(segments)

    def buffer(self) -> NDArray[np.uint8]:
        """This chip's slot for the next publish: write there, then publish()."""
        return self._slots[(self._word + 1) & 1][self.index]

    def publish(self) -> None:
        """Let the others see what buffer() holds, and wake those who wait for it."""
        signal.publish(self._own.buffer, self._offset, self._word + 1)

    def wait_all(self, timeout_s: float) -> None:
        """Wait until every member has published as often as this chip.

        Raises:
            RecvTimeout: one did not; it is named.
            PeerAborted: a chip aborted the run.
        """
        if self.interrupt is not None:
            return self._wait_with_interrupts(timeout_s)
        missing = self._wait(timeout_s)
        if missing != -1:
            self._fail(missing, timeout_s)
        return None

    def slot(self, index: int) -> NDArray[np.uint8]:
        """What member `index` of the group published last (read-only); valid after wait_all()."""
        return self._readable[self._word & 1][index]

    def slots(self) -> tuple[NDArray[np.uint8], ...]:
        """slot(0), slot(1), ... of the whole group."""
        return self._readable[self._word & 1]

    def is_used(self) -> bool:
        """Was anything published in this run?"""
        return self._word & 0xFFFF_FFFF > 0

    def missing(self) -> tuple[int, ...]:
        """The ranks of the members that have published less often than this chip."""
        word = self._word
        return tuple(
            sorted(
                self.group[index]
                for index, buffer in zip(self._awaited, self._buffers, strict=True)
                if signal.load64(buffer, self._offset) < word
            )
        )

    def aborted_by(self) -> tuple[int, int]:
        """The rank that aborted the run (-1: nobody did), and the run."""
        by = self._own.aborted_by(self._own.run_id)
        return (-1 if by is None else by), self._own.run_id

    def give_up(self, alone: bool = False) -> None:
        """Abort the run: this chip has published what it will not go on with.

        Args:
            alone: only for this chip, not for all members: they will come to it themselves.
        """
        run_id, rank = self._own.run_id, self.group[self.index]
        segments = (self._own,) if alone else self._segments
        for segment in segments:
            segment.mark_aborted(run_id, rank)
        for segment in segments:
            segment.wake_all()

    def layout(self) -> WindowLayout:
        """The places in memory that this window is made of."""
        return WindowLayout(
            tuple(segment.buffer for segment in self._segments),
            self.index,
            self._offset,
            (self._own.slot_at(self.channel, 0), self._own.slot_at(self.channel, 1)),
            self.slot_bytes,
            RUN_AT,
            ABORT_AT,
            self._own.heap_at,
            self._own.heap_bytes,
            all(segment.heap_bytes == segment.address.heap_bytes for segment in self._segments),
        )

    @property
    def _word(self) -> int:
        """The chip's last publish; every member counts from zero at the start of a run."""
        word = signal.load64(self._own.buffer, self._offset)
        return max(word, self._own.run_id << RUN_SHIFT)

    def _wait(self, timeout_s: float) -> int:
        return signal.wait_all(
            self._buffers,
            self._offset,
            self._word,
            self._own.buffer,
            ABORT_AT,
            self._own.run_id + 1,
            timeout_s,
        )

    def _wait_with_interrupts(self, timeout_s: float) -> None:
        assert self.interrupt is not None
        deadline = time.monotonic() + timeout_s
        while (missing := self._wait(min(_HOOK_EVERY_S, timeout_s))) != -1:
            left_s = deadline - time.monotonic()
            if missing == -2 or left_s <= 0:
                self._fail(missing, timeout_s)
            self.interrupt()

    def _fail(self, missing: int, timeout_s: float) -> None:
        rank = self.group[self.index]
        aborted_by = self._own.aborted_by(self._own.run_id)
        if aborted_by is not None:
            raise PeerAborted(rank, aborted_by, self._own.run_id)
        what = f"publish {self._word & 0xFFFF_FFFF} of window channel {self.channel}"
        raise RecvTimeout(rank, self.group[self._awaited[missing]], timeout_s, what)


def _read_only(slot: NDArray[np.uint8]) -> NDArray[np.uint8]:
    view = slot[:]
    view.flags.writeable = False
    return view
