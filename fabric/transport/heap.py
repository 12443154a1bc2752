"""The arrays of a chip in its own shared memory: peers read them where they were born.

heap.c is numpy's memory handler (NEP 49); without a compiler there is no heap, and large
collectives go as messages.
"""

from dataclasses import dataclass
from typing import Any

from .segment import Segment

try:
    from . import _heap

    COMPILED = True
except ImportError:
    COMPILED = False

HEAP_MIN_BYTES = 1 << 14
"""Smaller arrays stay with numpy: collectives copy them anyway."""
HEAP_KEEP_BYTES = 1 << 30
"""Freed memory beyond this goes back to the system; below, it waits warm for the next tensor."""


@dataclass(frozen=True, slots=True)
class HeapStatistics:
    """What a heap holds."""

    num_blocks: int
    used_bytes: int
    kept_bytes: int  # free, and ready for use without a page fault


class SharedHeap:
    """The heap at the end of a chip's segment. Arrays may outlive both."""

    def __init__(self, segment: Segment, keep_bytes: int = HEAP_KEEP_BYTES) -> None:
        self._heap: Any = None
        if COMPILED and segment.heap_bytes:
            self._heap = _heap.Heap(
                segment.buffer, segment.heap_at, segment.heap_bytes, HEAP_MIN_BYTES, keep_bytes
            )

    def install(self) -> bool:
        """Let numpy take arrays of HEAP_MIN_BYTES and more from here, in this thread.

        The handler belongs to the current context (contextvars): call it in every thread and
        every task that makes tensors; a second call costs next to nothing. False: there is no heap.
        """
        if self._heap is None:
            return False
        self._heap.install()
        return True

    def uninstall(self) -> None:
        """Let numpy use its own allocator again, in this thread, if it uses this heap."""
        if self._heap is not None:
            self._heap.uninstall()

    def close(self) -> None:
        """Let go of the memory; it goes with its last array."""
        self.uninstall()
        self._heap = None

    def offset_of(self, array: Any) -> int:
        """Where in the segment a C-contiguous array's data begins; -1: not in this heap."""
        return -1 if self._heap is None else int(self._heap.offset_of(array))

    def statistics(self) -> HeapStatistics:
        """Blocks and bytes in use, and what is kept for the next."""
        return HeapStatistics(*(self._heap.statistics() if self._heap is not None else (0, 0, 0)))
