"""What every transport does, and the address at which its peers find it.

A transport carries frames between the chips of one mesh: in order for each pair, without loss
while both live, and without deadlock when everybody sends before anybody receives. Every wait has
a limit, and the run of each frame is known, so that a broken run leaves nothing behind.
"""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Buffer: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]

SEND_TIMEOUT_S = 60.0  # until a peer takes what was sent; sending itself never waits for long


@dataclass(frozen=True, slots=True)
class SegmentAddress:
    """Where another process of the same host finds a chip's shared memory."""

    pid: int
    fd: int
    num_bytes: int
    num_chips: int
    slot_bytes: int
    ring_bytes: int
    heap_bytes: int  # at the end; 0: none
    token: bytes  # also written in the segment: a recycled pid cannot pass for this chip


@dataclass(frozen=True, slots=True)
class Address:
    """Where the peers of a chip find it. Small, picklable: it travels through the driver."""

    rank: int
    host_id: str  # chips of one host can share memory
    segment: SegmentAddress | None  # None: this chip has no shared memory
    url: str | None  # None: this chip has no socket


@dataclass(frozen=True, slots=True)
class TransportStatistics:
    """What a transport carried since it was opened."""

    num_frames_sent: int = 0
    num_bytes_sent: int = 0  # headers and payloads
    num_frames_received: int = 0
    num_bytes_received: int = 0
    num_frames_dropped: int = 0  # of earlier runs
    num_refused: int = 0  # strangers that tried to connect, and messages that are no frames

    def __add__(self, other: "TransportStatistics") -> "TransportStatistics":
        return TransportStatistics(
            self.num_frames_sent + other.num_frames_sent,
            self.num_bytes_sent + other.num_bytes_sent,
            self.num_frames_received + other.num_frames_received,
            self.num_bytes_received + other.num_bytes_received,
            self.num_frames_dropped + other.num_frames_dropped,
            self.num_refused + other.num_refused,
        )


class Transport(Protocol):
    """A chip's end of the mesh. One thread sends and receives; any thread may abort."""

    @property
    def rank(self) -> int:
        """The chip this end belongs to."""

    @property
    def address(self) -> Address:
        """Where peers find this end."""

    def connect(self, addresses: Sequence[Address]) -> None:
        """Learn where the peers are: one address of each chip, in any order.

        May be called again when a chip was replaced: what has changed is opened anew.
        """

    def send(
        self,
        dst: int,
        header: bytes,
        payload: Buffer | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send a frame; the caller may reuse both buffers afterwards.

        Raises:
            SendTimeout: the peer did not take it in time.
            PeerAborted: a chip aborted the run while this one waited.
        """

    def recv(self, src: int, timeout_s: float) -> tuple[bytes, memoryview | bytes]:
        """The next frame of this run from `src`: header and payload (empty when there was none).

        Raises:
            RecvTimeout: nothing came in time.
            PeerAborted: a chip aborted the run while this one waited.
        """

    def abort(self, run_id: int) -> None:
        """Wake every chip that waits in this run, with PeerAborted, and this one too."""

    def begin_run(self, run_id: int) -> None:
        """Start a run on this chip: drop everything of earlier runs. Run ids only grow.

        Called on every chip, in any order, when the earlier run is over on all of them. What a
        faster chip has already sent in the new run is kept.
        """

    def statistics(self) -> TransportStatistics:
        """What was carried so far."""

    def close(self) -> None:
        """Give everything back; nothing stays on the machine. Safe to call twice."""


def flat(payload: Buffer | None) -> memoryview | bytes:
    """The payload as plain bytes, without a copy where it is contiguous."""
    if payload is None:
        return b""
    if isinstance(payload, np.ndarray):
        payload = np.ascontiguousarray(payload).data
    view = memoryview(payload)
    if view.nbytes == 0:
        return b""
    return view.cast("B") if view.c_contiguous else view.tobytes()


def host_id() -> str:
    """A name that only processes which can share memory have in common.

    Boot, process-id namespace (/proc/<pid> must mean the same process), host name, user.
    """
    parts = [platform.node(), str(os.getuid()) if hasattr(os, "getuid") else ""]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid", "/proc/self/ns/user"):
        try:
            parts.append(str(Path(path).readlink()) if "/ns/" in path else Path(path).read_text())
        except OSError:
            parts.append("")
    return "/".join(part.strip() for part in parts)
