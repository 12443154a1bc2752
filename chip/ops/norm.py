"""Normalisation."""

import numpy as np

from .. import kernels
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import WORDS, elementwise_plan, num_tile_rows, quietly, require_float, wide

PASSES = 3  # square and sum, scale, weight


def _rule(eps: float, x: TensorSpec, weight: TensorSpec) -> Plan:
    require_float(x=x, weight=weight)
    if not x.shape or weight.shape != x.shape[-1:] or not x.shape[-1]:
        raise ShapeError(
            f"x {x.shape} with weight {weight.shape} (expected x [..., D] and weight [D], D > 0)"
        )
    if eps < 0:
        raise InvalidArgument(f"eps (={eps}) must be >= 0")
    return elementwise_plan(x, (x, weight), passes=PASSES, flops=4, num_parallel=num_tile_rows(x))


def _values(eps: float, x: Array, weight: Array) -> Array:
    if x.itemsize != 2:
        return _float32(eps, x, wide(weight))
    out = np.empty(x.shape, WORDS)
    kernels.rms_norm(x, wide(weight), out, eps)
    return out


@quietly
def _float32(eps: float, x: Array, weight: Array) -> Array:
    squares = np.mean(x * x, axis=-1, keepdims=True, dtype=np.float32)
    return np.asarray(x * (np.float32(1) / np.sqrt(squares + np.float32(eps))) * weight)


RMS_NORM = Op("rms_norm", _rule, _values)


def rms_norm(chip: ChipState, x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Divide each row of x [..., D] by its root mean square and multiply by weight [D].

    x / sqrt(mean(x**2) + eps) * weight in float32, rounded once at the end to x's dtype (a chip may
    round between the two products).

    Raises:
        ShapeError: the weight is not as long as a row.
    """
    return chip.run(RMS_NORM, (x, weight), (eps,))
