"""Flight recorders with the clocks of this host."""

import time

from ..flight_layout import FLIGHT_BYTES
from ..flight_recorder import FlightRecorder


def new_recorder(rank: int, buffer: memoryview | None = None) -> FlightRecorder:
    """A chip's recorder in shared memory, or without a buffer in its own."""
    base_ns = time.time_ns() - time.monotonic_ns()
    where = memoryview(bytearray(FLIGHT_BYTES)) if buffer is None else buffer
    return FlightRecorder(where, time.monotonic_ns, base_ns, rank)
