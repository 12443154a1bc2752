"""Cutting the points that are left into chunks: long enough to be cheap, short enough to lose."""

from collections.abc import Sequence
from typing import Any

TARGET_S = 1.0
"""Wall time of a chunk: a task's overhead (1 ms) and a sync (10 ms) do not matter then."""


class Chunks:
    """Hands out the points in order; how many at once follows from how long they take."""

    def __init__(self, points: Sequence[dict[str, Any]], num_workers: int) -> None:
        self._points, self._num_workers = points, num_workers
        self._next = self._num_done = 0
        self._wall_s = 0.0

    def __bool__(self) -> bool:
        """Are any left?"""
        return self._next < len(self._points)

    def take(self) -> list[dict[str, Any]]:
        """The next chunk. One point while none is done; at the end, a share for each worker."""
        left = len(self._points) - self._next
        size = 1
        if self._num_done:
            per_point_s = max(self._wall_s / self._num_done, 1e-6)
            fair = -(-left // (2 * self._num_workers))
            size = max(1, min(int(TARGET_S / per_point_s), fair))
        chunk = list(self._points[self._next : self._next + size])
        self._next += len(chunk)
        return chunk

    def note(self, num_points: int, wall_s: float) -> None:
        """Some points are done, and took so long in all."""
        self._num_done += num_points
        self._wall_s += wall_s
