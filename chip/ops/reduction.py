"""Finding the largest elements."""

import numpy as np

from ..cost import Work, constants
from ..dtype import DType
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import like, normal_dim, num_tile_rows, require_float, wide

TOPK_PASSES = int(constants()["topk_passes"].value)


def _argmax_rule(dim: int, x: TensorSpec) -> Plan:
    require_float(x=x)
    dim = normal_dim(dim, x.shape)
    if not x.shape[dim]:
        raise ShapeError(f"dim {dim} of {x.shape} has no elements to choose from")
    output = like(x, x.shape[:dim] + x.shape[dim + 1 :], DType.UINT32)
    work = Work(
        "reduce", x.size, x.padded_bytes, output.padded_bytes, x.num_tiles, num_tile_rows(x)
    )
    return Plan((output,), work)


def _argmax_values(dim: int, x: Array) -> Array:
    return np.asarray(np.argmax(wide(x), axis=dim), np.uint32)


ARGMAX = Op("argmax", _argmax_rule, _argmax_values)


def argmax(chip: ChipState, x: Tensor, dim: int = -1) -> Tensor:
    """The index (uint32) of the largest element along a dim, which is dropped.

    Ties: the lowest index. NaN counts as largest.

    Raises:
        ShapeError: x has no such dim, or it is empty.
    """
    return chip.run(ARGMAX, (x,), (dim,))


def _topk_rule(k: int, dim: int, x: TensorSpec) -> Plan:
    require_float(x=x)
    dim = normal_dim(dim, x.shape)
    if not 1 <= k <= x.shape[dim]:
        raise ShapeError(
            f"k (={k}) must be within 1 .. {x.shape[dim]}, the length of dim {dim} of {x.shape}"
        )
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
    outputs = (like(x, shape), like(x, shape, DType.UINT32))
    written = sum(output.padded_bytes for output in outputs)
    return Plan(
        outputs,
        Work("sfpu", x.size, x.padded_bytes, written, TOPK_PASSES * x.num_tiles, num_tile_rows(x)),
    )


def _topk_values(k: int, dim: int, x: Array) -> tuple[Array, Array]:
    rows = np.moveaxis(wide(x), dim, -1)
    flat = rows.reshape(-1, rows.shape[-1])
    chosen = (
        np.stack([_largest(row, k) for row in flat]) if len(flat) else np.empty((0, k), np.int64)
    )
    indices = np.moveaxis(chosen.reshape(*rows.shape[:-1], k), -1, dim)
    values = np.take_along_axis(x, indices, axis=dim)
    return np.asarray(values, order="C"), np.asarray(indices, np.uint32, order="C")


def _largest(row: Array, k: int) -> Array:
    """Indices of the k largest, largest first, equal ones by index; NaN counts as the largest."""
    key = np.where(np.isnan(row), np.float32(-np.inf), -row)  # ascending: the largest first
    limit = np.partition(key, k - 1)[k - 1]
    near = np.flatnonzero(key <= limit)
    return near[np.argsort(key[near], kind="stable")[:k]]


TOPK = Op("topk", _topk_rule, _topk_values)


def topk(chip: ChipState, x: Tensor, k: int, dim: int = -1) -> tuple[Tensor, Tensor]:
    """The k largest elements along a dim and their indices (uint32), largest first.

    Ties: the lowest index first. NaN counts as largest (as +inf, so among those by index).

    Raises:
        ShapeError: x has no such dim, or it is shorter than k.
    """
    values, indices = chip.run_many(TOPK, (x,), (k, dim))
    return values, indices
