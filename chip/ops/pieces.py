"""Cutting tensors into pieces and joining them."""

import builtins
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from ..cost import Work
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Shape, Tensor, TensorSpec
from .movement import checked_dim, unsqueeze
from .shared import like, move_plan, normal_dim

Steps = tuple[int, ...] | None


def _slice_rule(starts: Shape, stops: Shape, steps: Steps, x: TensorSpec) -> Plan:
    good = len(starts) == len(stops) == len(x.shape) and all(
        0 <= start <= stop <= dim for start, stop, dim in zip(starts, stops, x.shape, strict=True)
    )
    if not good:
        raise ShapeError(
            f"{starts} .. {stops} of {x.shape} (expected 0 <= start <= stop <= dim for each dim)"
        )
    steps = steps or (1,) * len(starts)
    if len(steps) != len(starts) or min(steps, default=1) < 1:
        raise ShapeError(f"steps {steps} of {x.shape} (expected one for each dim, each >= 1)")
    cuts = zip(starts, stops, steps, strict=True)
    output = like(x, tuple(-(-(stop - start) // step) for start, stop, step in cuts))
    return move_plan(output, output.padded_bytes)


def _slice_values(starts: Shape, stops: Shape, steps: Steps, x: Array) -> Array:
    if steps is None:
        return np.asarray(x[tuple(map(builtins.slice, starts, stops))].copy())
    return np.asarray(x[tuple(map(builtins.slice, starts, stops, steps))].copy())


SLICE = Op("slice", _slice_rule, _slice_values, any_dtype=True)


def slice(
    chip: ChipState,
    x: Tensor,
    starts: Sequence[int],
    stops: Sequence[int],
    steps: Sequence[int] | None = None,
) -> Tensor:
    """Cut out elements starts[i] .. stops[i] - 1 of each dim i, as a new tensor.

    Args:
        steps: every how many elements one is taken, for each dim; None: all.
    Raises:
        ShapeError: a bound lies outside its dim, a step is < 1, or one is missing.
    """
    taken = None if steps is None else tuple(steps)
    return chip.run(SLICE, (x,), (tuple(starts), tuple(stops), taken))


def _concat_rule(dim: int, *parts: TensorSpec) -> Plan:
    if not parts:
        raise ShapeError("concat needs one tensor or more, not 0")
    first = parts[0]
    dim = normal_dim(dim, first.shape)
    for part in parts[1:]:
        if part.dtype is not first.dtype:
            raise DTypeError(f"{part.dtype} with {first.dtype} (expected one dtype)")
        if len(part.shape) != len(first.shape) or _without(part.shape, dim) != _without(
            first.shape, dim
        ):
            raise ShapeError(f"{part.shape} with {first.shape}: all dims but {dim} must be equal")
    length = sum(part.shape[dim] for part in parts)
    output = like(first, (*first.shape[:dim], length, *first.shape[dim + 1 :]))
    return move_plan(output, sum(part.padded_bytes for part in parts))


def _without(shape: Shape, dim: int) -> Shape:
    return shape[:dim] + shape[dim + 1 :]


def _concat_values(dim: int, *parts: Array) -> Array:
    return np.concatenate(parts, axis=dim)


CONCAT = Op("concat", _concat_rule, _concat_values, any_dtype=True)


def concat(chip: ChipState, tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Join tensors end to end along a dim.

    Raises:
        ShapeError: another dim differs.
        DTypeError: the number formats differ.
    """
    return chip.run(CONCAT, tuple(tensors), (dim,))


def stack(chip: ChipState, tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Join tensors of one shape along a new dim, which becomes dim `dim` of the result.

    Raises:
        ShapeError: the shapes differ.
        DTypeError: the number formats differ.
    """
    for tensor in tensors[1:]:
        if tensor.shape != tensors[0].shape:
            raise ShapeError(
                f"{tensor.shape} with {tensors[0].shape} (expected one shape)", "stack", chip.rank
            )
    return concat(chip, [unsqueeze(chip, tensor, dim) for tensor in tensors], dim)


def _split_rule(sizes: tuple[int, ...], dim: int, x: TensorSpec) -> Plan:
    dim = normal_dim(dim, x.shape)
    if min(sizes, default=0) < 0 or sum(sizes) != x.shape[dim]:
        raise ShapeError(
            f"pieces of {sizes} along dim {dim} of {x.shape} (expected sizes >= 0 that add up to "
            f"{x.shape[dim]})"
        )
    pieces = tuple(like(x, (*x.shape[:dim], size, *x.shape[dim + 1 :])) for size in sizes)
    written = sum(piece.padded_bytes for piece in pieces)
    tiles = sum(piece.num_tiles for piece in pieces)
    return Plan(pieces, Work("move", 0, x.padded_bytes, written, tiles, tiles))


def _split_values(sizes: tuple[int, ...], dim: int, x: Array) -> tuple[Array, ...]:
    pieces = np.split(x, list(accumulate(sizes))[:-1], axis=dim)
    return tuple(piece.copy(order="C") for piece in pieces)


SPLIT = Op("split", _split_rule, _split_values, any_dtype=True)


def split(
    chip: ChipState, x: Tensor, split_size: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Cut a tensor along a dim into pieces of one size (the last may be smaller), or of these.

    Raises:
        ShapeError: x has no such dim; the sizes do not add up to it.
        InvalidArgument: the size is < 1.
    """
    if not isinstance(split_size, int):
        return chip.run_many(SPLIT, (x,), (tuple(split_size), dim))
    if split_size < 1:
        raise InvalidArgument(f"split_size (={split_size}) must be >= 1", "split", chip.rank)
    whole, rest = divmod(x.shape[checked_dim(chip, "split", dim, x.shape)], split_size)
    return chip.run_many(SPLIT, (x,), ((split_size,) * whole + (rest,) * (rest > 0), dim))


def chunk(chip: ChipState, x: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut a tensor along a dim into so many pieces of one size (the last may be smaller).

    There are fewer where the dim does not divide so: 5 into 4 gives 2, 2 and 1.

    Raises:
        ShapeError: x has no such dim.
        InvalidArgument: `chunks` is < 1.
    """
    if chunks < 1:
        raise InvalidArgument(f"chunks (={chunks}) must be >= 1", "chunk", chip.rank)
    length = x.shape[checked_dim(chip, "chunk", dim, x.shape)]
    return split(chip, x, max(1, -(-length // chunks)), dim)
