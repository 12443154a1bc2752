"""Functions as the vector unit computes them under a compute config: the routines of sfpu.py.

Dst holds what goes in and comes out. It is float32, or without `fp32_dest_acc` bfloat16: a float32
operand is cut to it, as the unpacker does, and the result is rounded to it as the config rounds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from .. import kernels, sfpu
from ..accumulate import as_bfloat16, rounded
from ..compute_config import ComputeConfig, Fidelity
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Tensor, TensorSpec
from .pointwise import MOST_TABLES, Pointwise
from .shared import WORDS, quietly, wide

Routine = Callable[[Floats], Floats]


class Routines(NamedTuple):
    """The routines of one function; None: none is documented, and it is computed exactly."""

    approx: Routine
    bfloat16: Routine | None = None  # for a Dst of bfloat16
    float32: Routine | None = None

    def chosen(self, config: ComputeConfig) -> Routine | None:
        """What a config runs; None: the exact function."""
        if config.approx:
            return self.approx
        if config.fidelity is Fidelity.EXACT:
            return None
        return self.float32 if config.fp32_dest_acc else self.bfloat16

    def of(self, config: ComputeConfig, exact: Callable[[Array], Array], x: Floats) -> Floats:
        """The function of x, which Dst holds, as Dst holds it; `exact` is for float64."""
        routine = self.chosen(config)
        if routine is None:
            return held(config, np.asarray(exact(x.astype(np.float64)), np.float32))
        return held(config, routine(x))


EXP = Routines(sfpu.exp_approx, sfpu.exp_bfloat16, sfpu.exp_float32)
RECIPROCAL = Routines(sfpu.reciprocal_approx, sfpu.reciprocal_bfloat16, sfpu.reciprocal_float32)
SQRT = Routines(sfpu.sqrt_approx, sfpu.sqrt_float32, sfpu.sqrt_float32)
RSQRT = Routines(sfpu.rsqrt_approx, sfpu.rsqrt_float32, sfpu.rsqrt_float32)
GELU = Routines(sfpu.gelu_approx)
SIGMOID = Routines(sfpu.sigmoid_approx)
TANH = Routines(sfpu.tanh_approx)


def held(config: ComputeConfig, result: Floats) -> Floats:
    """A result as Dst holds it."""
    if config.fp32_dest_acc:
        return result
    return as_bfloat16(result, config.rounding)


def _operand(config: ComputeConfig, x: Floats) -> Floats:
    """A number as it is unpacked to Dst."""
    if config.fp32_dest_acc:
        return x
    bits = np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).reshape(x.shape)


@dataclass(frozen=True, slots=True, eq=False)
class VectorFunction:
    """A function of one number that a config may have computed by a routine of the vector unit."""

    exact: Pointwise
    routines: Routines
    plain: Op
    configured: Op

    @classmethod
    def of(cls, exact: Pointwise, routines: Routines) -> "VectorFunction":
        """The function with its two ops."""

        def rule(config: ComputeConfig, x: TensorSpec) -> Plan:
            return exact.rule(x)

        def values(config: ComputeConfig, x: Array) -> Array:
            return _values(exact, routines, config, x)

        return cls(exact, routines, exact.op(), Op(exact.name, rule, values))

    def run(self, chip: ChipState, x: Tensor, compute: ComputeConfig | None) -> Tensor:
        """The function of x; without a config exactly, rounded once."""
        if compute is None:
            return chip.run(self.plain, (x,))
        return chip.run(self.configured, (x,), (compute,))


def _values(exact: Pointwise, routines: Routines, config: ComputeConfig, x: Array) -> Array:
    if x.itemsize != 2:
        return _computed(exact, routines, config, x)
    out = np.empty(x.shape, WORDS)
    kernels.lookup(_table(exact, routines, config), x, out)
    return out


@quietly
def _computed(exact: Pointwise, routines: Routines, config: ComputeConfig, x: Floats) -> Floats:
    return routines.of(config, exact.function, _operand(config, x))


@lru_cache(maxsize=MOST_TABLES)
def _table(exact: Pointwise, routines: Routines, config: ComputeConfig) -> Array:
    """The function of every bfloat16 number, as words."""
    every = np.arange(1 << 16, dtype=np.uint32).astype(WORDS)
    return rounded(_computed(exact, routines, config, wide(every)), every, config.rounding)
