"""Finding the largest elements, and sorting. Ties: the lowest index first. NaN counts as largest.

Indices are uint32 unless uint16 is asked for. (ttnn 0.81.1: those of topk are uint16; those of sort
uint16 or uint32; of argmax uint32.)
"""

import numpy as np

from ..cost import Work, constants
from ..dtype import DType
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Layout, Tensor, TensorSpec, tensor_spec
from .reduction import reduced_dims, reduced_shape
from .shared import like, normal_dim, num_tile_rows, num_tiles, wide

TOPK_PASSES, SORT_STEP_PASSES, SPLIT_COLUMNS, MOST_SPLIT_K, SPLIT_CORES = (
    int(constants()[name].value)
    for name in (
        "topk_passes", "sort_step_passes", "topk_split_columns", "topk_split_most_k",
        "topk_split_cores",
    )
)  # fmt: skip


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


def _topk_rule(k: int, dim: int, largest: bool, indices: DType, x: TensorSpec) -> Plan:
    dim = normal_dim(dim, x.shape)
    if not 1 <= k <= x.shape[dim]:
        raise ShapeError(
            f"k (={k}) must be within 1 .. {x.shape[dim]}, the length of dim {dim} of {x.shape}"
        )
    _check_indices(indices, x.shape[dim])
    shape = (*x.shape[:dim], k, *x.shape[dim + 1 :])
    outputs = like(x, shape), like(x, shape, indices)
    if dim < len(x.shape) - 1 or x.shape[dim] < SPLIT_COLUMNS or k > MOST_SPLIT_K:
        return _ranked_plan(x, outputs, TOPK_PASSES * x.num_tiles, num_tile_rows(x))
    # Each core ranks its part of the columns; one core merges what all have found.
    of_part = -(-num_tiles(x.shape[dim]) // SPLIT_CORES)
    of_core = num_tile_rows(x) * (of_part + SPLIT_CORES * num_tiles(k))
    return _ranked_plan(x, outputs, TOPK_PASSES * of_core * SPLIT_CORES, SPLIT_CORES)


def _check_indices(indices: DType, length: int) -> None:
    """Raise unless indices of this format can tell so many elements."""
    if indices not in (DType.UINT16, DType.UINT32):
        raise InvalidArgument(f"indices_dtype (={indices}) must be uint16 or uint32")
    if indices is DType.UINT16 and length > 1 << 16:
        raise InvalidArgument(
            f"indices_dtype (=uint16) of {length} elements (expected uint32 beyond {1 << 16})"
        )


def _ranked_plan(
    x: TensorSpec, outputs: tuple[TensorSpec, ...], num_passes: int, num_parallel: int
) -> Plan:
    written = 0
    for output in outputs:
        written += output.padded_bytes
    return Plan(outputs, Work("sfpu", x.size, x.padded_bytes, written, num_passes, num_parallel))


def _topk_values(k: int, dim: int, largest: bool, indices: DType, x: Array) -> tuple[Array, Array]:
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
    chip: ChipState,
    x: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
    indices_dtype: DType | str = DType.UINT32,
) -> tuple[Tensor, Tensor]:
    """The k largest elements along a dim (or the smallest) and their indices.

    Args:
        sorted: False: any order will do; they are sorted all the same.
        indices_dtype: uint32 or uint16.
    Raises:
        ShapeError: x has no such dim, or it is shorter than k.
        InvalidArgument: uint16 and more than 65536 elements, or another indices_dtype.
    """
    params = (k, dim, largest, DType.parse(indices_dtype))
    values, indices = chip.run_many(TOPK, (x,), params)
    return values, indices


def _sort_rule(dim: int, descending: bool, indices: DType, x: TensorSpec) -> Plan:
    length = x.shape[normal_dim(dim, x.shape)]
    _check_indices(indices, length)
    levels = (num_tiles(length) * 32 - 1).bit_length()  # a bitonic sort of 2**levels elements
    steps = levels * (levels + 1) // 2
    num_passes = SORT_STEP_PASSES * steps * x.num_tiles
    return _ranked_plan(x, (x, like(x, x.shape, indices)), num_passes, num_tile_rows(x))


def _sort_values(dim: int, descending: bool, indices: DType, x: Array) -> tuple[Array, Array]:
    return _picked(x, np.argsort(_keys(wide(x), descending), axis=dim, kind="stable"), dim)


SORT = Op("sort", _sort_rule, _sort_values)


def sort(
    chip: ChipState,
    x: Tensor,
    dim: int = -1,
    descending: bool = False,
    indices_dtype: DType | str = DType.UINT32,
) -> tuple[Tensor, Tensor]:
    """The elements along a dim in order, and where each was, in `indices_dtype` as of `topk`.

    Raises:
        ShapeError: x has no such dim.
        InvalidArgument: uint16 and more than 65536 elements, or another indices_dtype.
    """
    params = (dim, descending, DType.parse(indices_dtype))
    values, indices = chip.run_many(SORT, (x,), params)
    return values, indices
