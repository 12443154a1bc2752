"""Elementwise ops: inputs widened to float32, computed in float32, rounded once to nearest even."""

from functools import cache

import numpy as np

from .. import kernels
from ..cost import constants
from ..errors import DTypeError, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Shape, Tensor, TensorSpec
from .shared import WORDS, elementwise_plan, like, narrow, quietly, require_float, wide

SILU_PASSES = int(constants()["silu_passes"].value)
SHORTEST_REPEAT = 32  # b repeated along a: rows shorter than this are left to numpy


def _binary_rule(a: TensorSpec, b: TensorSpec) -> Plan:
    if a.dtype is not b.dtype and not (a.dtype.is_float and b.dtype.is_float):
        raise DTypeError(
            f"{a.dtype} with {b.dtype} (expected two float formats, or the same integers)"
        )
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(
            f"{a.shape} with {b.shape}: each dim must be equal, or 1 in one of them"
        ) from None
    return elementwise_plan(like(a, shape), (a, b))


def _repeats(b: Shape, a: Shape) -> bool:
    """Whether b, but for leading ones, is the end of a."""
    while b and b[0] == 1:
        b = b[1:]
    return not b or a[-len(b) :] == b


def _compiled_fits(a: Array, b: Array) -> bool:
    """Whether the kernels, which take words and repeat b along a, can do this pair."""
    if a.itemsize != 2 or b.itemsize != 2:
        return False
    return a.shape == b.shape or (
        b.ndim <= a.ndim and b.size >= SHORTEST_REPEAT and _repeats(b.shape, a.shape)
    )


def _add_values(a: Array, b: Array) -> Array:
    if _compiled_fits(a, b):
        out = np.empty(a.shape, WORDS)
        kernels.add(a, b, out)
        return out
    return _numpy_add(a, b)


def _mul_values(a: Array, b: Array) -> Array:
    if _compiled_fits(a, b):
        out = np.empty(a.shape, WORDS)
        kernels.mul(a, b, out)
        return out
    return _numpy_mul(a, b)


@quietly
def _numpy_add(a: Array, b: Array) -> Array:
    return narrow(np.asarray(wide(a) + wide(b)), a)


@quietly
def _numpy_mul(a: Array, b: Array) -> Array:
    return narrow(np.asarray(wide(a) * wide(b)), a)


ADD = Op("add", _binary_rule, _add_values)
MUL = Op("mul", _binary_rule, _mul_values)


def add(chip: ChipState, a: Tensor, b: Tensor) -> Tensor:
    """Add: shapes broadcast as in numpy; the result has a's dtype. Integers wrap.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: floats meet integers.
    """
    return chip.run(ADD, (a, b))


def mul(chip: ChipState, a: Tensor, b: Tensor) -> Tensor:
    """Multiply elementwise: shapes broadcast as in numpy; the result has a's dtype. Integers wrap.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: floats meet integers.
    """
    return chip.run(MUL, (a, b))


def _silu_rule(x: TensorSpec) -> Plan:
    require_float(x=x)
    return elementwise_plan(x, (x,), "sfpu", passes=SILU_PASSES, flops=4)


@cache
@quietly
def _silu_table() -> Array:
    """silu of every bfloat16 number: computed in float64, rounded to float32, then to bfloat16."""
    every = wide(np.arange(1 << 16, dtype=np.uint32).astype(WORDS)).astype(np.float64)
    out = np.empty(every.shape, WORDS)
    kernels.round_words((every / (1 + np.exp(-every))).astype(np.float32), out)
    return out


@quietly
def _silu_float32(x: Array) -> Array:
    return np.asarray(x / (np.float32(1) + np.exp(-x)))


def _silu_values(x: Array) -> Array:
    if x.itemsize != 2:
        return _silu_float32(x)
    out = np.empty(x.shape, WORDS)
    kernels.lookup(_silu_table(), x, out)
    return out


SILU = Op("silu", _silu_rule, _silu_values)


def silu(chip: ChipState, x: Tensor) -> Tensor:
    """Apply x * sigmoid(x). For bfloat16 from a table, so the same bits everywhere."""
    return chip.run(SILU, (x,))
