"""Finding the largest elements, and sorting. Ties: the lowest index first. NaN counts as largest.

Indices are uint32 (ttnn gives uint16 where the dim is short enough).
"""

import math

import numpy as np

from ..cost import Work, constants
from ..dtype import DType
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Layout, Tensor, TensorSpec, tensor_spec
from .reduction import reduced_dims, reduced_shape
from .shared import like, normal_dim, num_tile_rows, num_tiles, wide

TOPK_PASSES = int(constants()["topk_passes"].value)
SORT_STEP_PASSES = int(constants()["sort_step_passes"].value)


def _argmax_rule(dim: int | None, keepdim: bool, x: TensorSpec) -> Plan:
    dims = reduced_dims(None if dim is None else (dim,), x.shape)
    for one in dims:
        if not x.shape[one]:
            raise ShapeError(f"dim {one} of {x.shape} has no elements to choose from")
    shape = reduced_shape(x.shape, dims, keepdim)
    output = tensor_spec(shape, DType.UINT32, Layout.ROW_MAJOR, x.memory)
    work = Work(
        "reduce", x.size, x.padded_bytes, output.padded_bytes, x.num_tiles, num_tile_rows(x)
    )
    return Plan((output,), work)


def _argmax_values(dim: int | None, keepdim: bool, x: Array) -> Array:
    found = np.argmax(wide(x), axis=dim, keepdims=keepdim)
    return np.asarray(found, np.uint32, order="C")


ARGMAX = Op("argmax", _argmax_rule, _argmax_values)


def argmax(chip: ChipState, x: Tensor, dim: int | None = -1, keepdim: bool = False) -> Tensor:
    """The index (uint32, row-major) of the largest element along a dim, which is dropped.

    Args:
        dim: None: the index among all elements, in row order.
        keepdim: keep what is dropped as 1.
    Raises:
        ShapeError: x has no such dim, or it is empty.
    """
    return chip.run(ARGMAX, (x,), (dim, keepdim))


def _topk_rule(k: int, dim: int, largest: bool, x: TensorSpec) -> Plan:
    dim = normal_dim(dim, x.shape)
    if not 1 <= k <= x.shape[dim]:
        raise ShapeError(
            f"k (={k}) must be within 1 .. {x.shape[dim]}, the length of dim {dim} of {x.shape}"
        )
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
    outputs = like(x, shape), like(x, shape, DType.UINT32)
    rows = num_tile_rows(x)
    return _ranked_plan(x, outputs, TOPK_PASSES, rows * _cut(x.num_tiles // rows))


def _cut(tiles: int) -> int:
    """How many cores' worth a row of tiles is cut into.

    n cores leave a tile each to one core that merges them. The two steps take least with
    n = sqrt(tiles), and together twice as long as each.
    """
    return max(1, math.isqrt(tiles) // 2)


def _ranked_plan(
    x: TensorSpec, outputs: tuple[TensorSpec, ...], passes: int, parallel: int
) -> Plan:
    written = 0
    for output in outputs:
        written += output.padded_bytes
    work = Work("sfpu", x.size, x.padded_bytes, written, passes * x.num_tiles, parallel)
    return Plan(outputs, work)


def _topk_values(k: int, dim: int, largest: bool, x: Array) -> tuple[Array, Array]:
    keys = np.moveaxis(_keys(wide(x), largest), dim, -1)
    flat = keys.reshape(-1, keys.shape[-1])
    chosen = np.stack([_first(row, k) for row in flat]) if len(flat) else np.empty((0, k), np.int64)
    return _picked(x, np.moveaxis(chosen.reshape(*keys.shape[:-1], k), -1, dim), dim)


def _keys(x: Array, descending: bool) -> Array:
    """What to sort by, ascending: -x, or x; NaN as infinity."""
    signed = x if x.dtype.kind == "f" else x.astype(np.int64)
    keys = -signed if descending else signed
    return np.where(np.isnan(keys), -np.inf if descending else np.inf, keys)


def _first(keys: Array, k: int) -> Array:
    """Indices of the k smallest keys, in order, equal ones by index."""
    limit = np.partition(keys, k - 1)[k - 1]
    near = np.flatnonzero(keys <= limit)
    return near[np.argsort(keys[near], kind="stable")[:k]]


def _picked(x: Array, indices: Array, dim: int) -> tuple[Array, Array]:
    values = np.take_along_axis(x, indices, axis=dim)
    return np.asarray(values, order="C"), np.asarray(indices, np.uint32, order="C")


TOPK = Op("topk", _topk_rule, _topk_values)


def topk(
    chip: ChipState, x: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """The k largest elements along a dim (or the smallest) and their indices (uint32).

    Args:
        sorted: False: any order will do; they are sorted all the same.
    Raises:
        ShapeError: x has no such dim, or it is shorter than k.
    """
    values, indices = chip.run_many(TOPK, (x,), (k, dim, largest))
    return values, indices


def _sort_rule(dim: int, descending: bool, x: TensorSpec) -> Plan:
    length = x.shape[normal_dim(dim, x.shape)]
    levels = (num_tiles(length) * 32 - 1).bit_length()  # a bitonic sort of 2**levels elements
    steps = levels * (levels + 1) // 2
    outputs = x, like(x, x.shape, DType.UINT32)
    return _ranked_plan(x, outputs, SORT_STEP_PASSES * steps, num_tile_rows(x))


def _sort_values(dim: int, descending: bool, x: Array) -> tuple[Array, Array]:
    return _picked(x, np.argsort(_keys(wide(x), descending), axis=dim, kind="stable"), dim)


SORT = Op("sort", _sort_rule, _sort_values)


def sort(
    chip: ChipState, x: Tensor, dim: int = -1, descending: bool = False
) -> tuple[Tensor, Tensor]:
    """The elements along a dim in order, and where each was (uint32).

    Raises:
        ShapeError: x has no such dim.
    """
    values, indices = chip.run_many(SORT, (x,), (dim, descending))
    return values, indices
