"""Taking and putting elements by their index along a dim.

Not called `gather` and `scatter`, as in ttnn: these are collectives here.
"""

import numpy as np

from ..errors import DTypeError, InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Shape, Tensor, TensorSpec
from .shared import like, move_plan, normal_dim, require_integers


def _check_index(dim: int, x: TensorSpec, index: TensorSpec) -> None:
    require_integers(index=index)
    if len(index.shape) != len(x.shape):
        raise ShapeError(
            f"index {index.shape} has {len(index.shape)} dims (expected {len(x.shape)}, as x "
            f"{x.shape})"
        )
    dim = normal_dim(dim, x.shape)
    for i, (length, limit) in enumerate(zip(index.shape, x.shape, strict=True)):
        if i != dim and length > limit:
            raise ShapeError(
                f"dim {i} of index {index.shape} is {length}, beyond x {x.shape} (nearest: {limit})"
            )


def _whole_index(dim: int, shape: Shape, index: Array) -> Array:
    """The index as int64, which must be within the dim."""
    limit = shape[dim]
    if index.size:
        for value in (int(index.min()), int(index.max())):
            if not 0 <= value < limit:
                raise InvalidArgument(
                    f"index (={value}) must be within 0 .. {limit - 1}, as dim {dim} of {shape} is "
                    f"{limit} (nearest: {0 if value < 0 else limit - 1})"
                )
    return index.astype(np.int64)


def _part(dim: int, x: Array, shape: Shape) -> Array:
    """The view of x that is as large as the index in all dims but this one."""
    dim %= x.ndim
    return x[tuple(slice(None if i == dim else length) for i, length in enumerate(shape))]


def _gather_rule(dim: int, x: TensorSpec, index: TensorSpec) -> Plan:
    _check_index(dim, x, index)
    output = like(x, index.shape)
    return move_plan(output, index.padded_bytes + output.padded_bytes)


def _gather_values(dim: int, x: Array, index: Array) -> Array:
    whole = _whole_index(dim, x.shape, index)
    return np.asarray(np.take_along_axis(_part(dim, x, index.shape), whole, axis=dim), order="C")


GATHER = Op("gather_elements", _gather_rule, _gather_values)


def gather_elements(chip: ChipState, x: Tensor, dim: int, index: Tensor) -> Tensor:
    """Take elements along a dim: out[i][j] = x[index[i][j]][j] for dim 0 of two; ttnn's gather.

    The result has the index's shape, and x's dtype and layout. In its other dims the index may be
    shorter than x.

    Raises:
        ShapeError: another number of dims, or the index is longer than x in another dim.
        DTypeError: the index holds floats.
        InvalidArgument: an index lies outside the dim (seen where there are values only).
    """
    return chip.run(GATHER, (x, index), (dim,))


def _scatter_rule(dim: int, x: TensorSpec, index: TensorSpec, source: TensorSpec) -> Plan:
    _check_index(dim, x, index)
    if source.shape != index.shape:
        raise ShapeError(f"source {source.shape} with index {index.shape} (nearest: {index.shape})")
    if source.dtype is not x.dtype:
        raise DTypeError(f"source is {source.dtype} (expected {x.dtype}, as x)")
    return move_plan(x, x.padded_bytes + index.padded_bytes + source.padded_bytes)


def _scatter_values(dim: int, x: Array, index: Array, source: Array) -> Array:
    out = x.copy()
    whole = _whole_index(dim, x.shape, index)
    if index.size:
        np.put_along_axis(_part(dim, out, index.shape), whole, source, axis=dim)
    return out


SCATTER = Op("scatter_elements", _scatter_rule, _scatter_values)


def scatter_elements(chip: ChipState, x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of x with out[index[i][j]][j] = source[i][j] for dim 0 of two; ttnn's scatter.

    Where an index occurs twice, the later source stays.

    Raises:
        ShapeError, DTypeError, InvalidArgument: as `gather_elements`; source has the shape of the
            index and the dtype of x.
    """
    return chip.run(SCATTER, (x, index, source), (dim,))
