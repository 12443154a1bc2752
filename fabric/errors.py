"""What can go wrong between chips; the type says who is to blame, the fields say where."""

from typing import TypeAlias

from ..chip.errors import MeshtwinError


class FabricError(MeshtwinError):
    """Root of the errors of links, boxes and transports."""


class UnknownBox(FabricError):
    """No box of that name is in fabric/data/boxes.toml."""

    def __init__(self, name: str, nearest: str | None, known: tuple[str, ...]) -> None:
        super().__init__(name, nearest, known)
        self.name, self.nearest, self.known = name, nearest, known

    def __str__(self) -> str:
        hint = f" Did you mean {self.nearest!r}?" if self.nearest else ""
        return f"no box is called {self.name!r}.{hint} Known boxes: {', '.join(self.known)}"


class UnknownRank(FabricError, ValueError):
    """A rank (or a group of ranks) that the box does not have."""

    def __init__(self, rank: int, num_chips: int, where: str) -> None:
        super().__init__(rank, num_chips, where)
        self.rank, self.num_chips, self.where = rank, num_chips, where

    def __str__(self) -> str:
        return f"rank (={self.rank}) must be in 0..{self.num_chips - 1} ({self.where})"


class SharedMemoryRefused(FabricError):
    """The operating system refused shared memory; open the mesh with mode="zeromq" instead."""

    def __init__(self, what: str, os_error: str) -> None:
        super().__init__(what, os_error)
        self.what, self.os_error = what, os_error

    def __str__(self) -> str:
        return f'shared memory refused: {self.what}: {self.os_error} (use mode="zeromq")'


class PortRefused(FabricError):
    """A network address could not be bound or reached."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url, self.reason = url, reason

    def __str__(self) -> str:
        return f"cannot use {self.url}: {self.reason}"


class RecvTimeout(FabricError):
    """Nothing came from a chip within the limit. Says what was awaited, from whom, how long."""

    def __init__(self, rank: int, src: int, waited_s: float, waiting_for: str) -> None:
        super().__init__(rank, src, waited_s, waiting_for)
        self.rank, self.src, self.waited_s, self.waiting_for = rank, src, waited_s, waiting_for

    def __str__(self) -> str:
        return (
            f"chip {self.rank} waited {self.waited_s:.3g} s for {self.waiting_for} "
            f"from chip {self.src} (limit: timeout_s)"
        )


class SendTimeout(FabricError):
    """A chip did not take what was sent to it within the limit."""

    def __init__(self, rank: int, dst: int, waited_s: float, num_bytes_left: int) -> None:
        super().__init__(rank, dst, waited_s, num_bytes_left)
        self.rank, self.dst, self.waited_s = rank, dst, waited_s
        self.num_bytes_left = num_bytes_left

    def __str__(self) -> str:
        return (
            f"chip {self.rank} waited {self.waited_s:.3g} s for chip {self.dst} to take "
            f"{self.num_bytes_left} more bytes (limit: timeout_s)"
        )


class PeerAborted(FabricError):
    """Another chip gave up this run, so the wait was cut short. Its own error says why."""

    def __init__(self, rank: int, peer: int, run_id: int) -> None:
        super().__init__(rank, peer, run_id)
        self.rank, self.peer, self.run_id = rank, peer, run_id

    def __str__(self) -> str:
        return f"chip {self.rank} stopped waiting: chip {self.peer} aborted run {self.run_id}"


class TransportClosed(FabricError):
    """The transport was used after close()."""

    def __init__(self, rank: int) -> None:
        super().__init__(rank)
        self.rank = rank

    def __str__(self) -> str:
        return f"the transport of chip {self.rank} is closed; open the mesh again"


class FrameError(FabricError, ValueError):
    """Bytes that are not a frame of this version."""

    def __init__(self, what: str, expected: str) -> None:
        super().__init__(what, expected)
        self.what, self.expected = what, expected

    def __str__(self) -> str:
        return f"bad frame: {self.what}; expected {self.expected}"


class PacketError(FrameError):
    """Bytes that are not a packet of this version."""


class CrcError(PacketError):
    """The checksum of a packet does not fit its bytes: they changed on the way."""


class LinkDown(FabricError):
    """A message needed a link that was down, and the fault policy is to fail."""

    def __init__(self, link: tuple[int, int], sim_ps: int, what: str) -> None:
        super().__init__(link, sim_ps, what)
        self.link, self.sim_ps, self.what = link, sim_ps, what

    def __str__(self) -> str:
        return (
            f"the link from chip {self.link[0]} to chip {self.link[1]} is down at "
            f"{self.sim_ps / 1e6:.3f} us (simulated), needed by {self.what}; "
            'policy="reroute" would go round it'
        )


class LinkGaveUp(LinkDown):
    """A link lost one packet again and again, and counts as down. `sim_ps` is not known here: 0."""

    def __str__(self) -> str:
        return f"the link from chip {self.link[0]} to chip {self.link[1]} gave up on {self.what}"


Wait: TypeAlias = tuple[int, tuple[int, ...], str]
"""A chip, the chips that it waits for, and what it waits in (call, step, source line)."""


class FabricHang(FabricError):
    """No chip can make progress. Says who waits for whom, and how that is known.

    Fields: the chip that raises; `waits`, the edges of the wait-for graph; `why`, the proof (a
    cycle, a chip that has ended its program, a stalled chip) or the limit that ran out; `record`,
    the last calls of the chips, in words.
    """

    def __init__(self, chip: int, waits: tuple[Wait, ...], why: str, record: str = "") -> None:
        super().__init__(chip, waits, why, record)
        self.chip, self.waits, self.why, self.record = chip, waits, why, record

    def __str__(self) -> str:
        lines = [
            f"chip {chip} waits for chip {', '.join(map(str, others))} in {what}"
            for chip, others, what in self.waits
        ]
        return "\n  ".join([f"the fabric hangs: {self.why}", *lines]) + self.record


class SubmeshError(FabricError):
    """A mesh that a box does not hold. `fitting`: meshes of as many chips that it does hold."""

    def __init__(
        self,
        box: str,
        shape: tuple[int, int],
        asked: tuple[int, int],
        fitting: tuple[tuple[int, int], ...],
    ) -> None:
        super().__init__(box, shape, asked, fitting)
        self.box, self.shape, self.asked, self.fitting = box, shape, asked, fitting

    def __str__(self) -> str:
        rows, columns = self.asked
        text = f"a mesh of {rows}x{columns} chips does not fit into {self.box}, which is "
        text += f"{self.shape[0]}x{self.shape[1]}"
        if not self.fitting:
            return f"{text}, nor does any other of {rows * columns} chips"
        return (
            f"{text}; of as many chips there are {', '.join(f'{r}x{c}' for r, c in self.fitting)}"
        )
