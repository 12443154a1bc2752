"""Ops that give elements another shape or order; and typecast."""

import math
from collections.abc import Sequence

import numpy as np

from ..conversion import EVERY
from ..dtype import DType
from ..errors import ShapeError
from ..formats.codec import decode, pack, saturate
from ..formats.rounding import Rounding
from ..state import ChipState, Op, Plan
from ..tensor import TILE, Array, Layout, Shape, Tensor, TensorSpec
from .shared import elementwise_plan, like, move_plan, normal_dim


def _reshape_rule(shape: Shape, x: TensorSpec) -> Plan:
    return move_plan(like(x, shape), x.padded_bytes)


def _reshape_values(shape: Shape, x: Array) -> Array:
    return x.reshape(shape).copy()


RESHAPE = Op("reshape", _reshape_rule, _reshape_values, any_dtype=True)


def reshape(chip: ChipState, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Give the same elements, in row order, another shape; one dim may be -1.

    Where no element changes its page (the last dim stays; and in tiles the one before it stays, or
    stays whole tiles; no shards) this is a view: no time, no memory, the same storage, as in ttnn.
    Else the chip moves data.

    Raises:
        ShapeError: the number of elements would change.
    """
    whole = _whole_shape(chip, tuple(shape), x.shape)
    if not _is_view(x.spec, whole):
        return chip.run(RESHAPE, (x,), (whole,))
    view = like(x.spec, whole)
    storage = None if x.storage is None else x.storage.reshape(view.storage_shape)
    return Tensor(view, storage, x.allocation)


def _whole_shape(chip: ChipState, shape: Shape, old: Shape) -> Shape:
    size, known = math.prod(old), math.prod(dim for dim in shape if dim != -1)
    if shape.count(-1) == 1 and known and size % known == 0:
        shape = tuple(size // known if dim == -1 else dim for dim in shape)
    if any(dim < 0 for dim in shape) or math.prod(shape) != size:
        raise ShapeError(
            f"{old} as {shape}: {size} elements must stay {size}", "reshape", chip.rank
        )
    return shape


def _is_view(x: TensorSpec, shape: Shape) -> bool:
    if x.memory.is_sharded:
        return False
    (old_rows, old_columns), (rows, columns) = (1, 1, *x.shape)[-2:], (1, 1, *shape)[-2:]
    if x.layout is Layout.ROW_MAJOR:  # a row is a page
        return old_columns == columns
    return old_columns == columns and (old_rows == rows or not (old_rows % TILE or rows % TILE))


def squeeze(chip: ChipState, x: Tensor, dim: int | None = None) -> Tensor:
    """Leave out a dim of 1, or all of them; a dim that is not 1 stays, as in ttnn. See `reshape`.

    Raises:
        ShapeError: x has no such dim.
    """
    left_out = range(len(x.shape)) if dim is None else (checked_dim(chip, "squeeze", dim, x.shape),)
    shape = [size for index, size in enumerate(x.shape) if size != 1 or index not in left_out]
    return reshape(chip, x, shape)


def unsqueeze(chip: ChipState, x: Tensor, dim: int) -> Tensor:
    """Put in a dim of 1, which becomes dim `dim` of the result. See `reshape`.

    Raises:
        ShapeError: the result has no such dim.
    """
    place = checked_dim(chip, "unsqueeze", dim, (*x.shape, 1))
    return reshape(chip, x, (*x.shape[:place], 1, *x.shape[place:]))


def unsqueeze_to_4d(chip: ChipState, x: Tensor) -> Tensor:
    """Put dims of 1 before the first until there are four. See `reshape`.

    Raises:
        ShapeError: x has more than four dims.
    """
    if len(x.shape) > 4:
        raise ShapeError(f"x {x.shape} (expected 4 dims or fewer)", "unsqueeze_to_4d", chip.rank)
    return reshape(chip, x, (1,) * (4 - len(x.shape)) + x.shape)


def checked_dim(chip: ChipState, op: str, dim: int, shape: Shape) -> int:
    """`normal_dim` for a method that is no op by itself: errors name it and the chip."""
    try:
        return normal_dim(dim, shape)
    except ShapeError as error:
        raise error.at(op, chip.rank) from None


def _permute_rule(dims: tuple[int, ...], x: TensorSpec) -> Plan:
    if sorted(dims) != list(range(len(x.shape))):
        raise ShapeError(
            f"dims (={dims}) must name each of the {len(x.shape)} dims of {x.shape} once"
        )
    return move_plan(like(x, tuple(x.shape[dim] for dim in dims)), x.padded_bytes)


def _permute_values(dims: tuple[int, ...], x: Array) -> Array:
    return x.transpose(dims).copy()


PERMUTE = Op("permute", _permute_rule, _permute_values, any_dtype=True)


def permute(chip: ChipState, x: Tensor, dims: Sequence[int]) -> Tensor:
    """Reorder dims: dim i of the result is dim dims[i] of x.

    Raises:
        ShapeError: `dims` is no permutation.
    """
    return chip.run(PERMUTE, (x,), (tuple(dims),))


def transpose(chip: ChipState, x: Tensor, dim1: int, dim2: int) -> Tensor:
    """Swap two dims.

    Raises:
        ShapeError: x has no such dim.
    """
    first, second = (checked_dim(chip, "transpose", dim, x.shape) for dim in (dim1, dim2))
    dims = list(range(len(x.shape)))
    dims[first], dims[second] = second, first
    return permute(chip, x, dims)


def _typecast_rule(
    source: DType, shape: Shape, dtype: DType, rounding: Rounding, x: TensorSpec
) -> Plan:
    rounding.check(dtype.is_float)
    return elementwise_plan(like(x, x.shape, dtype), (x,), "move", flops=0)


def _typecast_values(
    source: DType, shape: Shape, dtype: DType, rounding: Rounding, x: Array
) -> Array:
    if source is dtype:
        return x.copy()
    values = decode(x, source, shape)
    if dtype.is_float:
        return pack(values.astype(np.float32, copy=False), dtype, rounding)
    return saturate(values, dtype) if source.is_float else values.astype(dtype.numpy)


TYPECAST = Op("typecast", _typecast_rule, _typecast_values, native=EVERY)


def typecast(
    chip: ChipState,
    x: Tensor,
    dtype: DType | str,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
) -> Tensor:
    """Convert to another number format.

    Float to float goes by way of float32, exact, and is rounded once: to nearest even, or as the
    chip's packer does it ("packer"). Float to integer truncates and stops at the ends of the range;
    NaN gives 0. Integer to float goes by way of float32, rounded to nearest even. Integer to
    integer keeps the low bits.

    Raises:
        InvalidArgument: there is no such rounding of floats, or a row-major tensor is to be a block
            float.
    """
    params = (x.dtype, x.shape, DType.parse(dtype), Rounding.parse(rounding))
    return chip.run(TYPECAST, (x,), params)
