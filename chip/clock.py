"""A chip's clock in simulated time: integer picoseconds since the mesh opened, not host time."""

from .errors import InvalidArgument


class Clock:
    """Simulated time of one chip. It only goes forward."""

    __slots__ = ("now_ps",)

    def __init__(self, now_ps: int = 0) -> None:
        self.now_ps = now_ps

    def advance(self, duration_ps: int) -> int:
        """Let time pass; the new time."""
        if duration_ps < 0:
            raise InvalidArgument(f"duration_ps (={duration_ps}) must be >= 0")
        self.now_ps += duration_ps
        return self.now_ps

    def wait_until(self, time_ps: int) -> int:
        """Wait for something that happens at `time_ps`, which may be past; the time afterwards."""
        if time_ps > self.now_ps:
            self.now_ps = time_ps
        return self.now_ps
