"""Functions of one number: what the elementwise ops of one tensor have in common.

A function is written once, for numpy arrays of any precision. For bfloat16 it becomes a table of
65536 results, computed in float64 and rounded: fast, and the same bits on every machine. float32 is
computed in float64 too and rounded once, unless float32 arithmetic is exact already.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .. import kernels
from ..cost import constants
from ..state import Op, Plan
from ..tensor import Array, TensorSpec
from .shared import WORDS, elementwise_plan, quietly, require_float, wide

MOST_TABLES = 64  # of 128 KiB each; a function with parameters has one for each set of them


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """A function of one number and what it costs on the vector unit.

    Attributes:
        function: f(x, *params), elementwise on an array.
        passes: vector instructions for each 32 lanes; see `vector_passes`.
        flops: arithmetic operations an element, a call of a function counted as one.
        in_float32: whether float32 numbers are computed in float32.
        integers: whether it takes integers, which wrap around.
    """

    name: str
    function: Callable[..., Array]
    passes: int
    flops: int = 1
    in_float32: bool = False
    integers: bool = False

    def rule(self, *params_then_x: Any) -> Plan:
        """The output is like the input."""
        x: TensorSpec = params_then_x[-1]
        if not self.integers:
            require_float(x=x)
        return elementwise_plan(x, (x,), "sfpu", passes=self.passes, flops=self.flops)

    def values(self, x: Array, params: tuple[float, ...] = ()) -> Array:
        """The function of words, float32 or integers, in their own format."""
        if x.itemsize != 2:
            return self._computed(x, params)
        out = np.empty(x.shape, WORDS)
        kernels.lookup(_table(self, *params), x, out)
        return out

    @quietly
    def _computed(self, x: Array, params: tuple[float, ...]) -> Array:
        operand = x
        if x.dtype.kind != "f":
            operand = x.astype(np.int64)
        elif not self.in_float32:
            operand = x.astype(np.float64)
        return np.asarray(self.function(operand, *params), x.dtype)

    def op(self) -> Op:
        """The op that applies this function to a tensor."""
        return Op(self.name, self.rule, self.values)

    def op_with_parameters(self) -> Op:
        """The op that applies this function with parameters to a tensor."""
        return Op(self.name, self.rule, lambda *args: self.values(args[-1], args[:-1]))


@lru_cache(maxsize=MOST_TABLES)
@quietly
def _table(pointwise: Pointwise, *params: float) -> Array:
    """The function of every bfloat16 number: in float64, rounded to float32, then to bfloat16."""
    every = wide(np.arange(1 << 16, dtype=np.uint32).astype(WORDS)).astype(np.float64)
    out = np.empty(every.shape, WORDS)
    kernels.round_words(np.asarray(pointwise.function(every, *params)).astype(np.float32), out)
    return out


def vector_passes(*steps: str, plain: int = 0) -> int:
    """Vector instructions of a load, a store, these steps (`<step>_passes`) and `plain` others."""
    names = ("load", "store", *steps)
    return plain + sum(int(constants()[f"{name}_passes"].value) for name in names)
