"""Waiting for a frame from any chip, or for a call from another thread of this one.

A transport's recv waits for one chip. A router waits for all of them and for its own program, so
it looks at what each kind of transport sleeps on: the bell of the segment, or the sockets.
"""

import os
from collections.abc import Iterable
from typing import Protocol

import zmq

from . import signal
from .base import Transport
from .pair import PairTransport
from .segment import DOORBELL_AT
from .shared_memory import SharedMemoryTransport
from .zeromq import ZmqTransport

_SLICE_S = 0.001  # on two roads at a time, each is looked at this often


class Poller(Protocol):
    """Waits for frames on the thread that sends and receives."""

    def poll(self, timeout_s: float) -> list[int]:
        """The sources of frames that recv would give now: as often as there are frames.

        Returns when there are some, after `wake`, or when the time is out; may return early.

        Raises:
            PeerAborted: a chip aborted the run.
        """

    def wake(self) -> None:
        """End the wait of poll(), or the next one. Any thread may call this."""

    def close(self) -> None:
        """Give back what the poller itself opened."""


def open_poller(transport: Transport) -> Poller:
    """The poller of a transport.

    Raises:
        TypeError: a kind of transport that cannot be polled.
    """
    if isinstance(transport, SharedMemoryTransport):
        return SharedMemoryPoller(transport)
    if isinstance(transport, ZmqTransport):
        return ZmqPoller(transport)
    if isinstance(transport, PairTransport):
        ends = [end for end in (transport._shared, transport._zeromq) if end is not None]
        return PairPoller([open_poller(end) for end in ends])
    raise TypeError(f"transport (={type(transport).__name__}) must be one that can be polled")


class SharedMemoryPoller:
    """Sleeps on the bell of the chip's own segment, which every sender rings."""

    def __init__(self, transport: SharedMemoryTransport) -> None:
        self._transport = transport
        self._buffer = transport._own.buffer
        self._heard = signal.load64(self._buffer, DOORBELL_AT)

    def poll(self, timeout_s: float) -> list[int]:
        """See Poller."""
        ready = self._ready()
        if not ready and timeout_s > 0:
            signal.wait_change(self._buffer, DOORBELL_AT, self._heard, timeout_s)
        self._heard = signal.load64(self._buffer, DOORBELL_AT)  # before looking: none is missed
        return ready or self._ready()

    def wake(self) -> None:
        """See Poller."""
        signal.ring(self._buffer, DOORBELL_AT)

    def close(self) -> None:
        """Nothing was opened."""

    def _ready(self) -> list[int]:
        self._transport.check_abort()
        return _repeated((src, len(r.frames)) for src, r in self._transport._readers.items())


class ZmqPoller:
    """Sleeps on the socket that every sender connects to, and on an eventfd for `wake`."""

    def __init__(self, transport: ZmqTransport) -> None:
        self._transport = transport
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = zmq.Poller()
        self._poller.register(transport._pull, zmq.POLLIN)
        self._poller.register(self._event, zmq.POLLIN)

    def poll(self, timeout_s: float) -> list[int]:
        """See Poller."""
        ready = self._ready()
        if ready or timeout_s <= 0:
            return ready
        came = dict(self._poller.poll(max(1, round(timeout_s * 1000))))
        if self._event in came:
            os.eventfd_read(self._event)
        return self._ready()

    def wake(self) -> None:
        """See Poller."""
        os.eventfd_write(self._event, 1)

    def close(self) -> None:
        """Close the eventfd."""
        os.close(self._event)

    def _ready(self) -> list[int]:
        self._transport.check_abort()
        run_id = self._transport._run_id
        queues = self._transport._frames.items()
        return _repeated((src, sum(e[0] == run_id for e in queue)) for src, queue in queues)


class PairPoller:
    """Looks at both roads; with two of them, it sleeps on each in short turns."""

    def __init__(self, pollers: list[Poller]) -> None:
        self._pollers = pollers

    def poll(self, timeout_s: float) -> list[int]:
        """See Poller."""
        if len(self._pollers) == 1:
            return self._pollers[0].poll(timeout_s)
        for poller in self._pollers:
            if ready := poller.poll(min(timeout_s, _SLICE_S)):
                return ready
        return []

    def wake(self) -> None:
        """See Poller."""
        for poller in self._pollers:
            poller.wake()

    def close(self) -> None:
        """Close both."""
        for poller in self._pollers:
            poller.close()


def _repeated(counts: Iterable[tuple[int, int]]) -> list[int]:
    return [src for src, count in counts for _ in range(count)]
