"""Tensors made of numbers rather than of tensors.

`full`, `zeros`, `ones` and `arange` are made by the host and loaded, as in ttnn, which is no op and
takes no simulated time. `full_like` and its kin are written by the chip.
"""

import math
from collections.abc import Sequence

import numpy as np

from ..dtype import DType
from ..errors import InvalidArgument
from ..memory.config import MemoryConfig
from ..state import ChipState, Op, Plan
from ..tensor import Array, Layout, Tensor, TensorSpec
from .scalar import check_scalar, stored_scalar
from .shared import move_plan


def full(
    chip: ChipState,
    shape: Sequence[int],
    fill_value: float,
    dtype: DType | str = DType.BFLOAT16,
    layout: Layout | None = None,
) -> Tensor:
    """A tensor that holds one number everywhere.

    Args:
        layout: None: tiles for floats, row-major for integers.
    Raises:
        InvalidArgument: a dim is negative, or the integers of `dtype` cannot hold the number.
    """
    chosen = DType.parse(dtype)
    try:
        check_scalar("fill_value", fill_value, chosen)
    except InvalidArgument as error:
        raise error.at("full", chip.rank) from None
    _check_dims("full", chip.rank, shape)
    one = np.asarray(fill_value, np.float64 if chosen.is_float else np.int64)
    return chip.tensor(np.broadcast_to(one, tuple(shape)), chosen, layout, "full")


def _check_dims(op: str, rank: int, shape: Sequence[int]) -> None:
    for dim, size in enumerate(shape):
        if size < 0:
            what = f"dim {dim} of shape {tuple(shape)} is {size} (nearest: 0)"
            raise InvalidArgument(what, op, rank)


def zeros(
    chip: ChipState,
    shape: Sequence[int],
    dtype: DType | str = DType.BFLOAT16,
    layout: Layout | None = None,
    memory: MemoryConfig = MemoryConfig.DRAM,
    what: str = "zeros",
) -> Tensor:
    """A tensor of zeros; `what` is the label that memory is charged under. See `full`."""
    _check_dims("zeros", chip.rank, shape)
    return chip.blank(tuple(shape), dtype, layout, memory, what)


def ones(
    chip: ChipState,
    shape: Sequence[int],
    dtype: DType | str = DType.BFLOAT16,
    layout: Layout | None = None,
) -> Tensor:
    """A tensor of ones; see `full`."""
    return full(chip, shape, 1, dtype, layout)


def arange(
    chip: ChipState,
    start: int,
    end: int | None = None,
    step: int = 1,
    dtype: DType | str = DType.BFLOAT16,
    layout: Layout | None = None,
) -> Tensor:
    """The numbers start, start + step, ... before end, as a vector; with one number: 0 .. start.

    Raises:
        InvalidArgument: step is 0, or integers of `dtype` cannot hold a number.
    """
    first, last = (0, start) if end is None else (start, end)
    if not step:
        raise InvalidArgument("step (=0) must not be 0 (nearest: 1)", "arange", chip.rank)
    chosen = DType.parse(dtype)
    count = max(0, math.ceil((last - first) / step))
    try:
        for value in (first, first + max(0, count - 1) * step):
            check_scalar("a number", value, chosen)
    except InvalidArgument as error:
        raise error.at("arange", chip.rank) from None
    numbers = np.arange(first, last, step)
    return chip.tensor(numbers if not chosen.is_float else numbers + 0.0, chosen, layout, "arange")


def _full_like_rule(value: float, x: TensorSpec) -> Plan:
    check_scalar("fill_value", value, x.dtype)
    return move_plan(x, 0)


def _full_like_values(value: float, x: Array) -> Array:
    return np.full(x.shape, stored_scalar(value, x))


FULL_LIKE = Op("full_like", _full_like_rule, _full_like_values)


def full_like(chip: ChipState, x: Tensor, fill_value: float) -> Tensor:
    """A tensor of x's shape, dtype and layout that holds one number everywhere; x is not read.

    Raises:
        InvalidArgument: x's integers cannot hold the number.
    """
    return chip.run(FULL_LIKE, (x,), (fill_value,))


def fill(chip: ChipState, x: Tensor, fill_value: float) -> Tensor:
    """ttnn's other name of `full_like`."""
    return full_like(chip, x, fill_value)


def zeros_like(chip: ChipState, x: Tensor) -> Tensor:
    """Zeros in x's shape, dtype and layout; see `full_like`."""
    return full_like(chip, x, 0)


def ones_like(chip: ChipState, x: Tensor) -> Tensor:
    """Ones in x's shape, dtype and layout; see `full_like`."""
    return full_like(chip, x, 1)
