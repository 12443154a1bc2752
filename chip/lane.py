"""What a chip does beside its ops: a collective under way, weights on their way into L1.

A chip has several engines. Inside `with chip.beside("fabric") as pending:` ops and collectives are
started on a lane of their own: in simulated time they begin when the lane is free, and the chip
goes on with what follows the block. `pending.wait()` waits for their end, and has to come before
the first use of their results: values are there at once, so nothing else would tell.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from .clock import Clock
from .errors import InvalidArgument, did_you_mean, nearest_name

LaneName = Literal["fabric", "dram", "host"]


class Pending:
    """What was started on a lane; `done_ps` is when it ends, in simulated time."""

    __slots__ = ("_clock", "done_ps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.done_ps = clock.now_ps

    def wait(self) -> int:
        """Let the chip wait for the end; the time afterwards, in simulated picoseconds."""
        return self._clock.wait_until(self.done_ps)


class Lanes:
    """When each lane of one chip is free again, in simulated picoseconds."""

    __slots__ = ("_clock", "_free_ps")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_ps: dict[str, int] = {}

    @contextmanager
    def beside(self, lane: LaneName) -> Iterator[Pending]:
        """Start what runs inside on `lane`, in order after what the lane has under way.

        Raises:
            InvalidArgument: there is no such lane; the nearest one is named.
        """
        known = get_args(LaneName)
        if lane not in known:
            hint = did_you_mean(nearest_name(lane, known))
            raise InvalidArgument(f"unknown lane {lane!r}{hint} Known: {', '.join(known)}.")
        clock = self._clock
        begin_ps = clock.now_ps
        pending = Pending(clock)
        clock.now_ps = max(begin_ps, self._free_ps.get(lane, 0))
        try:
            yield pending
        finally:
            pending.done_ps = self._free_ps[lane] = clock.now_ps
            clock.now_ps = begin_ps

    def join(self) -> int:
        """Wait for all lanes; the time afterwards."""
        return self._clock.wait_until(max(self._free_ps.values(), default=0))

    def clear(self) -> None:
        """Nothing is under way any more."""
        self._free_ps.clear()
