"""How a global array lies on the chips of a mesh: sharded, replicated, or each chip its own."""

from collections.abc import Sequence
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
    problem = _cut_problem(shape, placement.dim, num_shards(box, placement))
    if problem is not None:
        where = "" if placement.axis is None else f" (mesh axis {placement.axis})"
        raise PlacementError(f"{name} cannot be sharded{where}: {problem}")
    return placement.dim % len(shape)


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


def global_shape(box: Box, shape: tuple[int, ...], placement: Placement) -> tuple[int, ...]:
    """The shape of the global array whose parts have `shape`; for Local, of each part.

    Raises:
        PlacementError: the parts have no such dim.
    """
    if not isinstance(placement, Shard):
        return shape
    problem = _cut_problem(shape, placement.dim, 1)
    if problem is not None:
        raise PlacementError(f"a result cannot be {placement}: {problem}")
    dim = placement.dim % len(shape)
    return (*shape[:dim], shape[dim] * num_shards(box, placement), *shape[dim + 1 :])


def assemble(box: Box, parts: list[Array], placement: Placement, name: str) -> Array:
    """The global array from every chip's part in rank order; Local stacks them in a new dim 0.

    Raises:
        PlacementError: chips that should hold the same values do not, or parts do not fit.
    """
    if isinstance(placement, Local):
        check_same(name, "shape", [part.shape for part in parts], range(len(parts)))
        return np.stack(parts)
    groups = holders(box, placement)
    for group in groups:
        check_same(name, "values", [_values(parts[rank]) for rank in group], group)
    if isinstance(placement, Replicate):
        return parts[0]
    return np.concatenate([parts[group[0]] for group in groups], axis=placement.dim)


def holders(box: Box, placement: Placement) -> tuple[tuple[int, ...], ...]:
    """For each part of the global array, in order, the chips that hold it."""
    ranks = tuple(range(box.num_chips))
    if isinstance(placement, Replicate):
        return (ranks,)
    if isinstance(placement, Local) or placement.axis is None:
        return tuple((rank,) for rank in ranks)
    axis = placement.axis
    return tuple(
        tuple(rank for rank in ranks if box.coords(rank)[axis] == index)
        for index in range(box.shape[axis])
    )


def _values(array: Array) -> tuple[tuple[int, ...], bytes]:
    return array.shape, array.tobytes()


def check_same(name: str, what: str, values: Sequence[object], ranks: Sequence[int]) -> None:
    """Check that the chips `ranks` agree.

    Raises:
        PlacementError: two of them do not; they are named.
    """
    for rank, value in zip(ranks, values, strict=True):
        if value != values[0]:
            raise PlacementError(
                f"{name} should have the same {what} on chips {ranks[0]} and {rank}, but it "
                "differs; use Local() for values and mesh.run for shapes that differ by chip"
            )


def _cut_problem(shape: tuple[int, ...], dim: int, parts: int) -> str | None:
    """Why a tensor cannot be cut along `dim` in equal parts, and the nearest legal choice.

    None when it can; a dim of size 0 can, in empty parts.
    """
    if not shape:
        return "a tensor of shape () has no dim that could be cut"
    if not -len(shape) <= dim < len(shape):
        return (
            f"dim {dim} is not a dim of shape {shape}; legal dims are "
            f"{-len(shape)} to {len(shape) - 1}"
        )
    size = shape[dim]
    if size % parts == 0:
        return None
    below, above = size // parts * parts, (size // parts + 1) * parts
    nearest = f"sizes are {below} and {above}" if below else f"size is {above}"
    return (
        f"dim {dim} of shape {shape} has size {size}, which does not divide over {parts} chips; "
        f"the nearest legal {nearest}"
    )
