"""meshtwin: a distributed emulator of Tenstorrent Blackhole device meshes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers; at run time see __getattr__
    from .mesh.compare import OneChip, Reference, bisect, compare
    from .mesh.device import MeshDevice, PerChip, open_mesh
    from .mesh.placement import Local, Replicate, Shard
    from .mesh.program import MeshChip

__version__ = "0.1.0"

__all__ = [
    "Local",
    "MeshChip",
    "MeshDevice",
    "OneChip",
    "PerChip",
    "Reference",
    "Replicate",
    "Shard",
    "bisect",
    "compare",
    "open_mesh",
]


def __getattr__(name: str) -> object:
    """The public names, imported at first use: `meshtwin boxes` need not wait for Ray."""
    homes = {
        "open_mesh": "device",
        "MeshDevice": "device",
        "PerChip": "device",
        "compare": "compare",
        "bisect": "compare",
        "Reference": "compare",
        "OneChip": "compare",
        "MeshChip": "program",
        "Shard": "placement",
        "Replicate": "placement",
        "Local": "placement",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.mesh.{homes[name]}"), name)
