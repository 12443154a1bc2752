"""Open meshes, kept for whoever asks for the same one again."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from ..fabric.topology import Box, load_box
from .device import MeshDevice, open_mesh
from .session import RaySession, open_session

ROOM_FOR_CHIPS = 32
"""How many chips the Ray of a pool is made for; more fit, and Ray's log then complains."""


class MeshPool:
    """Meshes by box and options, on one Ray: the one of this process, or a local one of its own.

    A context manager: leaving it closes every mesh, and ends the Ray that it started.

    Raises:
        LaunchError: no Ray starts on this machine.
    """

    def __init__(self) -> None:
        self._session: RaySession | None = open_session("a pool of meshes", None, ROOM_FOR_CHIPS)
        self._meshes: list[tuple[Box, dict[str, Any], MeshDevice]] = []

    def get(self, box: str | Box, **options: Any) -> MeshDevice:
        """The open mesh of this box and these options of `open_mesh`; opened where there is none.

        A mesh that is closed, or that closed as a chip died, is opened again. It belongs to the
        pool: who uses it need not close it.

        Raises:
            UnknownBox, LaunchError: as `open_mesh`.
        """
        where = load_box(box) if isinstance(box, str) else box
        for entry in self._meshes:
            if entry[:2] == (where, options):
                if entry[2].is_open:
                    return entry[2]
                self._meshes.remove(entry)
                break
        mesh = open_mesh(where, **options)
        self._meshes.append((where, options, mesh))
        return mesh

    def close(self) -> None:
        """Close every mesh, and end the Ray that the pool started. Safe to call twice."""
        meshes, self._meshes = self._meshes, []
        session, self._session = self._session, None
        try:
            for _, _, mesh in meshes:
                mesh.close()
        finally:
            if session is not None:
                session.close()

    def __enter__(self) -> MeshPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
