"""Products shared out over threads: rows of x, or of the weight where x has one row.

One thread is the default, since every chip is a process of its own. Rows are computed apart, so the
number of threads changes no bit. Threads are worth it for one chip on several cores.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
Part = Callable[[int, int], None]
"""Computes rows from .. to of what is shared out."""

VARIABLE = "MESHTWIN_THREADS"
LEAST = 1 << 22  # multiplications a thread: fewer take less time than waking it

_count = 1
_pool: ThreadPoolExecutor | None = None


def set_threads(count: int) -> None:
    """How many threads the products of this process use from now on.

    MESHTWIN_THREADS in the environment says so for processes that start later, chips among them.

    Raises:
        ValueError: fewer than one.
    """
    global _count, _pool
    if count < 1:
        raise ValueError(f"threads (={count}) must be >= 1")
    if _pool is not None:
        _pool.shutdown()
    _count, _pool = count, None


def num_threads() -> int:
    """The threads that products use."""
    return _count


def share_out(part: Part, rows: int, work: int) -> None:
    """Carry out `part` on all rows, in pieces at the same time if `work` multiplications pay it."""
    global _pool
    pieces = min(_count, rows, max(1, work // LEAST))
    if pieces == 1:
        part(0, rows)
        return
    if _pool is None:
        _pool = ThreadPoolExecutor(_count, "meshtwin-product")
    bounds = [rows * piece // pieces for piece in range(pieces + 1)]
    for done in [_pool.submit(part, *ends) for ends in pairwise(bounds)]:
        done.result()


def _from_environment() -> None:
    text = os.environ.get(VARIABLE, "")
    if text.isdecimal() and int(text) > 0:
        set_threads(int(text))


_from_environment()
