"""Ops that move data and change no value: reshape, permute, slice, concat; and typecast."""

import builtins
import math
from collections.abc import Sequence

import numpy as np

from ..conversion import EVERY
from ..dtype import DType
from ..errors import DTypeError, ShapeError
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


def _slice_rule(starts: tuple[int, ...], stops: tuple[int, ...], x: TensorSpec) -> Plan:
    good = len(starts) == len(stops) == len(x.shape) and all(
        0 <= start <= stop <= dim for start, stop, dim in zip(starts, stops, x.shape, strict=True)
    )
    if not good:
        raise ShapeError(
            f"{starts} .. {stops} of {x.shape} (expected 0 <= start <= stop <= dim for each dim)"
        )
    output = like(x, tuple(stop - start for start, stop in zip(starts, stops, strict=True)))
    return move_plan(output, output.padded_bytes)


def _slice_values(starts: tuple[int, ...], stops: tuple[int, ...], x: Array) -> Array:
    return x[tuple(map(builtins.slice, starts, stops))].copy()


SLICE = Op("slice", _slice_rule, _slice_values, any_dtype=True)


def slice(chip: ChipState, x: Tensor, starts: Sequence[int], stops: Sequence[int]) -> Tensor:
    """Cut out elements starts[i] .. stops[i] - 1 of each dim i, as a new tensor.

    Raises:
        ShapeError: a bound lies outside its dim, or one is missing.
    """
    return chip.run(SLICE, (x,), (tuple(starts), tuple(stops)))


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


def _typecast_rule(
    source: DType, shape: Shape, dtype: DType, rounding: Rounding, x: TensorSpec
) -> Plan:
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
        InvalidArgument: there is no such rounding, or a row-major tensor is to be a block float.
    """
    params = (x.dtype, x.shape, DType.parse(dtype), Rounding.parse(rounding))
    return chip.run(TYPECAST, (x,), params)
