"""The chips that live on this host, found from outside, by the memory that they hold.

A chip's segment is a memfd of a known name that its process and those of its peers keep open, so
the links in /proc/<pid>/fd lead to it. It says whose it is, but not to which mesh a chip belongs:
processes that have a segment in common are one mesh. It is opened and mapped for reading only, so a
look changes nothing, and whoever looks can be told from a chip.
"""

import mmap
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..flight_layout import FLIGHT_BYTES
from ..flight_reader import read_chip
from .segment import FLIGHT_AT, NAME, OWNER_AT, RUN_AT

PROC = Path("/proc")
RAYLET = "raylet"  # what starts the process of a Ray actor


@dataclass(frozen=True, slots=True)
class FoundChip:
    """A chip's rank, its process and whether that lives, the run it is in, its flight recorder."""

    rank: int
    pid: int
    lives: bool
    run_id: int
    flight: memoryview


@dataclass(frozen=True, slots=True)
class FoundMesh:
    """Chips by rank, and the process that opened them with its command (None: not known).

    That is the chips' own process, or when a raylet started it, the parent of that raylet: the
    driver, unless the raylet was started by hand.
    """

    driver_pid: int | None
    command: str
    chips: tuple[FoundChip, ...]


def find_meshes() -> list[FoundMesh]:
    """Every mesh that has a chip in a process of this user on this host, by lowest process."""
    meshes: list[dict[int, Path]] = []  # the segments of each, by inode
    for pid in _own_pids():
        found = _segments(pid)
        if found:
            same = [mesh for mesh in meshes if mesh.keys() & found.keys()]
            meshes = [mesh for mesh in meshes if mesh not in same]
            meshes.append({inode: path for mesh in (*same, found) for inode, path in mesh.items()})
    chips = [[c for path in mesh.values() if (c := _read(path)) is not None] for mesh in meshes]
    return sorted((_mesh(some) for some in chips if some), key=lambda mesh: mesh.chips[0].pid)


def _own_pids() -> list[int]:
    """The processes of this user."""
    pids = []
    for folder in PROC.glob("[0-9]*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid():
                pids.append(int(folder.name))
    return sorted(pids)


def _segments(pid: int) -> dict[int, Path]:
    """The segments that a process keeps open: inode and path; an observer's do not count."""
    found = {}
    with suppress(OSError):  # it has just ended, or is not ours to look at
        for link in (PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):  # closed meanwhile
                can_write = link.lstat().st_mode & stat.S_IWUSR
                if can_write and str(link.readlink()).startswith(f"/memfd:{NAME} "):
                    found[link.stat().st_ino] = link
    return found


def _read(path: Path) -> FoundChip | None:
    """The chip that a segment belongs to; None before its recorder has begun, or if it is gone."""
    with suppress(OSError, ValueError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            memory = mmap.mmap(fd, FLIGHT_AT + FLIGHT_BYTES, prot=mmap.PROT_READ)
        finally:
            os.close(fd)
        flight = memoryview(memory)[FLIGHT_AT:]
        rank, pid = read_chip(flight), _word(memory, OWNER_AT)
        if rank is not None:
            return FoundChip(rank, pid, _lives(pid), _word(memory, RUN_AT), flight)
    return None


def _word(memory: mmap.mmap, at: int) -> int:
    return int.from_bytes(memory[at : at + 8], "little")


def _lives(pid: int) -> bool:
    """Does the process run? One that has ended and was not yet counted does not."""
    with suppress(OSError):
        return _stat(pid)[0] not in "ZX"
    return False


def _mesh(chips: list[FoundChip]) -> FoundMesh:
    chips.sort(key=lambda chip: (chip.rank, chip.pid))
    living = [chip.pid for chip in chips if chip.lives]
    pid = min(living, default=None)
    with suppress(OSError):
        if pid is not None and _name(parent := int(_stat(pid)[1])) == RAYLET:
            grandparent = int(_stat(parent)[1])
            pid = grandparent if grandparent > 1 else None
    return FoundMesh(pid, "" if pid is None else _command(pid), tuple(chips))


def _stat(pid: int) -> list[str]:
    """State, parent, and so on, as proc(5) has them after the name."""
    return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()


def _name(pid: int) -> str:
    return (PROC / str(pid) / "comm").read_text().strip()


def _command(pid: int) -> str:
    """Its command line; empty when it has gone."""
    with suppress(OSError):
        words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        return b" ".join(words).decode(errors="replace").strip()
    return ""
