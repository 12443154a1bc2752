"""Softmax."""

import numpy as np

from ..cost import constants
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import elementwise_plan, narrow, normal_dim, quietly, require_float, wide

PASSES = int(constants()["softmax_passes"].value)


def _rule(dim: int, x: TensorSpec) -> Plan:
    require_float(x=x)
    normal_dim(dim, x.shape)
    return elementwise_plan(x, (x,), "sfpu", passes=PASSES, flops=5)


@quietly
def _values(dim: int, x: Array) -> Array:
    if not x.size:
        return x.copy()
    scores = wide(x)
    powers = np.exp(scores - scores.max(axis=dim, keepdims=True))
    return narrow(powers / powers.sum(axis=dim, keepdims=True, dtype=np.float32), x)


SOFTMAX = Op("softmax", _rule, _values)


def softmax(chip: ChipState, x: Tensor, dim: int = -1) -> Tensor:
    """Turn scores into probabilities along a dim: exp(x - max) / sum, in float32, rounded once.

    Raises:
        ShapeError: x has no such dim.
    """
    return chip.run(SOFTMAX, (x,), (dim,))
