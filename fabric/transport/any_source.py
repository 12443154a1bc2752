"""Receiving from whichever chip comes first."""

import time
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from ..errors import RecvTimeout
from .base import Transport

LOOK_AGAIN_S = 0.0005

Received = tuple[int, bytes, memoryview | bytes]


@runtime_checkable
class TakesAny(Protocol):
    """A transport that can take from any chip by itself."""

    def recv_any(self, timeout_s: float) -> Received:
        """Source, header and payload of the frame that came first."""


def recv_any(transport: Transport, others: Sequence[int], timeout_s: float) -> Received:
    """The next frame of this run from one of `others`: its source, header and payload.

    Raises:
        RecvTimeout: nothing came in time; it names the first of the others.
        PeerAborted: a chip aborted the run while this one waited.
    """
    if isinstance(transport, TakesAny):
        return transport.recv_any(timeout_s)
    deadline = time.monotonic() + timeout_s
    while True:
        for src in others:
            try:
                header, payload = transport.recv(src, 0.0)
            except RecvTimeout:
                continue
            return src, header, payload
        if time.monotonic() > deadline:
            what = f"a frame from any of chips {list(others)}"
            raise RecvTimeout(transport.rank, others[0], timeout_s, what)
        time.sleep(LOOK_AGAIN_S)
