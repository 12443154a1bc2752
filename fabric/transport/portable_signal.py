"""What signal.c does, in Python: the same functions, with short sleeps instead of futexes.

Used where the extension was not built. Values written here and there are the same, so processes
with and without the extension can meet; only the waits are slower.
"""

import os
import threading
import time
from collections.abc import Sequence
from typing import Any

_NUM_YIELDS = 50
_FIRST_SLEEP_S, _LONGEST_SLEEP_S = 20e-6, 1e-3
_fence = threading.Lock()  # its acquire and release order memory on every processor


def load64(buffer: Any, offset: int) -> int:
    """The value of a cell."""
    with _fence:
        return int(memoryview(buffer)[offset : offset + 8].cast("Q")[0])


def store64(buffer: Any, offset: int, value: int) -> None:
    """Set a cell."""
    with _fence:
        memoryview(buffer)[offset : offset + 8].cast("Q")[0] = value


publish = store64  # nobody sleeps on a word here: there is nobody to wake


def ring(buffer: Any, offset: int) -> None:
    """Add one to a cell. (Two who ring at once may count once: it is a bell, not a counter.)"""
    store64(buffer, offset, (load64(buffer, offset) + 1) & 0xFFFF_FFFF_FFFF_FFFF)


def wake(buffer: Any, offset: int) -> None:
    """Wake the sleepers of a cell: here they wake by themselves."""


def wait_change(buffer: Any, offset: int, seen: int, timeout_s: float) -> bool:
    """Wait until the low 32 bits of a cell differ from those of `seen`; False: the time is out."""
    pause = _Pause(timeout_s)
    while (load64(buffer, offset) ^ seen) & 0xFFFF_FFFF == 0:
        if not pause():
            return False
    return True


def wait_all(
    buffers: Sequence[Any],
    offset: int,
    target: int,
    abort_buffer: Any,
    abort_offset: int,
    abort_value: int,
    timeout_s: float,
) -> int:
    """Wait until a cell of every buffer is at least `target`: -1; see signal.c for the others."""
    pause = _Pause(timeout_s)
    for member, buffer in enumerate(buffers):
        while load64(buffer, offset) < target:
            if load64(abort_buffer, abort_offset) == abort_value:
                return -2
            if not pause():
                return member
    return -1


class _Pause:
    """Yields a few times, then sleeps longer and longer; False when the time is out."""

    def __init__(self, timeout_s: float) -> None:
        self._deadline = time.monotonic() + timeout_s
        self._yields_left = _NUM_YIELDS
        self._sleep_s = _FIRST_SLEEP_S

    def __call__(self) -> bool:
        if self._yields_left:
            self._yields_left -= 1
            os.sched_yield() if hasattr(os, "sched_yield") else time.sleep(0)
            return True
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return False
        time.sleep(min(self._sleep_s, left_s))
        self._sleep_s = min(self._sleep_s * 1.5, _LONGEST_SLEEP_S)
        return True
