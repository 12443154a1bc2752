"""How a global array lies on the chips of a mesh: sharded, replicated, or each chip its own."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..fabric.topology import Box
from .errors import PlacementError

Array: TypeAlias = NDArray[np.generic]
Axis: TypeAlias = int | str | None
AXIS_NAMES = ("row", "col")
"""Mesh axis 0 is "row" (the row coordinate varies along it), axis 1 is "col"."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Cut along tensor dim `dim`; over one mesh axis, or over all chips in rank order (None)."""

    dim: int
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class Replicate:
    """Every chip holds the whole array."""


@dataclass(frozen=True, slots=True)
class Local:
    """Each chip holds an array of its own; nothing is promised about how they relate."""


Placement: TypeAlias = Shard | Replicate | Local


def axis_index(axis: Axis) -> int | None:
    """The mesh axis as 0, 1 or None (all chips), from an index or a name.

    Raises:
        PlacementError: no such axis; the text names the legal ones.
    """
    if axis is None or (isinstance(axis, int) and axis in (0, 1)):
        return axis
    if axis in AXIS_NAMES:
        return AXIS_NAMES.index(axis)
    legal = "0, 1, " + ", ".join(repr(name) for name in AXIS_NAMES)
    raise PlacementError(f"mesh axis {axis!r} does not exist; legal: {legal}, or None for all")


def num_shards(box: Box, placement: Shard) -> int:
    """Over how many chips the placement cuts."""
    return box.num_chips if placement.axis is None else box.shape[placement.axis]


def check_shardable(box: Box, shape: tuple[int, ...], placement: Shard, name: str) -> int:
    """The tensor dim that is cut, never negative.

    Raises:
        PlacementError: there is no such dim, or its size does not divide; names the nearest sizes.
    """
    dim, parts = placement.dim, num_shards(box, placement)
    if not -len(shape) <= dim < len(shape):
        raise PlacementError(
            f"{name} has shape {shape}, which has no dim {dim}; "
            f"legal dims are {-len(shape)} to {len(shape) - 1}"
        )
    size = shape[dim]
    if size % parts:
        where = "all chips" if placement.axis is None else f"mesh axis {placement.axis}"
        raise PlacementError(
            f"{name} has shape {shape}: dim {dim} of size {size} does not divide over {parts} "
            f"({where}); the nearest legal sizes are {size // parts * parts} and "
            f"{(size // parts + 1) * parts}"
        )
    return dim % len(shape)


def shard_of(box: Box, array: Array, placement: Placement, rank: int) -> Array:
    """The part of `array` that chip `rank` holds under Shard or Replicate."""
    if not isinstance(placement, Shard):
        return array
    dim = check_shardable(box, array.shape, placement, "the array")
    index = rank if placement.axis is None else box.coords(rank)[placement.axis]
    width = array.shape[dim] // num_shards(box, placement)
    where = [slice(None)] * array.ndim
    where[dim] = slice(index * width, (index + 1) * width)
    return array[tuple(where)]


def assemble(box: Box, parts: list[Array], placement: Placement) -> Array:
    """The global array from every chip's part in rank order; Local stacks them in a new dim 0."""
    if isinstance(placement, Replicate):
        return parts[0]
    if isinstance(placement, Local):
        return np.stack(parts)
    if placement.axis is None:
        return np.concatenate(parts, axis=placement.dim)
    other = 0
    ranks = [
        box.rank_at((i, other) if placement.axis == 0 else (other, i))
        for i in range(box.shape[placement.axis])
    ]
    return np.concatenate([parts[rank] for rank in ranks], axis=placement.dim)
