"""Activation functions, element by element; rounding, and compute configs, as in `unary`."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ..compute_config import ComputeConfig
from ..cost import constants
from ..errors import InvalidArgument, did_you_mean, nearest_name
from ..state import ChipState
from ..tensor import Array, Tensor
from . import vector_unit
from .erf import erfc
from .pointwise import Pointwise, vector_passes
from .vector_unit import VectorFunction


def _silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-x)))


def _gelu(x: Array) -> Array:
    return np.asarray(x * 0.5 * erfc(-x / math.sqrt(2)))


def _gelu_tanh(x: Array) -> Array:
    # 0.5 (1 + tanh u) is sigmoid(2u), which keeps its digits where tanh u is near -1
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return np.asarray(x / (1 + np.exp(-2 * u)))


def _softplus(x: Array, beta: float, threshold: float) -> Array:
    return np.where(x * beta > threshold, x, np.log1p(np.exp(x * beta)) / beta)


def _hardsigmoid(x: Array) -> Array:
    return np.asarray(np.clip(x + 3, 0, 6) / 6)


_silu_passes = int(constants()["silu_passes"].value)
FUNCTIONS = {
    "relu": Pointwise("relu", lambda x: np.maximum(x, 0), vector_passes(plain=1), 1, True, True),
    "relu6": Pointwise("relu6", lambda x: np.clip(x, 0, 6), vector_passes(plain=2), 2, True),
    "silu": Pointwise("silu", _silu, _silu_passes, 4, True),
    "sigmoid": Pointwise(
        "sigmoid", lambda x: 1 / (1 + np.exp(-x)), vector_passes("exp", "reciprocal", plain=2), 3
    ),
    "tanh": Pointwise("tanh", np.tanh, vector_passes("tanh")),
    "gelu": Pointwise("gelu", _gelu, vector_passes("erf", plain=3), 4),
    "gelu_tanh": Pointwise("gelu", _gelu_tanh, vector_passes("tanh", plain=6), 8),
}
"""What a binary op can apply along with itself, by name."""

RELU = FUNCTIONS["relu"].op()
RELU6 = FUNCTIONS["relu6"].op()
SILU = FUNCTIONS["silu"].op()
SIGMOID = VectorFunction.of(FUNCTIONS["sigmoid"], vector_unit.SIGMOID)
TANH = VectorFunction.of(FUNCTIONS["tanh"], vector_unit.TANH)
GELU = VectorFunction.of(FUNCTIONS["gelu"], vector_unit.GELU)
GELU_TANH = VectorFunction.of(FUNCTIONS["gelu_tanh"], vector_unit.GELU)
HARDSIGMOID = Pointwise("hardsigmoid", _hardsigmoid, vector_passes(plain=3), 4).op()
HARDSWISH = Pointwise("hardswish", lambda x: x * _hardsigmoid(x), vector_passes(plain=4), 5).op()
MISH = Pointwise(
    "mish",
    lambda x: x * np.tanh(np.logaddexp(0, x)),
    vector_passes("exp", "reciprocal", plain=6),
    5,
).op()
LEAKY_RELU = Pointwise(
    "leaky_relu", lambda x, slope: np.where(x < 0, x * slope, x), vector_passes(plain=3), 2
).op_with_parameters()
ELU = Pointwise(
    "elu",
    lambda x, alpha: np.where(x < 0, alpha * np.expm1(x), x),
    vector_passes("exp", plain=4),
    3,
).op_with_parameters()
SOFTPLUS = Pointwise(
    "softplus", _softplus, vector_passes("exp", "log", plain=4), 5
).op_with_parameters()


def activations_named(names: Sequence[str]) -> tuple[Pointwise, ...]:
    """The functions of these names.

    Raises:
        InvalidArgument: a name is unknown; the nearest one is named.
    """
    for name in names:
        if name not in FUNCTIONS:
            hint = did_you_mean(nearest_name(name, list(FUNCTIONS)))
            raise InvalidArgument(
                f"unknown activation {name!r}{hint} Known: {', '.join(FUNCTIONS)}."
            )
    return tuple(FUNCTIONS[name] for name in names)


def relu(chip: ChipState, x: Tensor) -> Tensor:
    """max(x, 0)."""
    return chip.run(RELU, (x,))


def relu6(chip: ChipState, x: Tensor) -> Tensor:
    """min(max(x, 0), 6)."""
    return chip.run(RELU6, (x,))


def leaky_relu(chip: ChipState, x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """x where x >= 0, negative_slope * x below."""
    return chip.run(LEAKY_RELU, (x,), (negative_slope,))


def elu(chip: ChipState, x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x >= 0, alpha * (exp(x) - 1) below."""
    return chip.run(ELU, (x,), (alpha,))


def silu(chip: ChipState, x: Tensor) -> Tensor:
    """x * sigmoid(x); float32 in float32 arithmetic."""
    return chip.run(SILU, (x,))


def mish(chip: ChipState, x: Tensor) -> Tensor:
    """x * tanh(log(1 + exp(x)))."""
    return chip.run(MISH, (x,))


def hardsigmoid(chip: ChipState, x: Tensor) -> Tensor:
    """relu6(x + 3) / 6."""
    return chip.run(HARDSIGMOID, (x,))


def hardswish(chip: ChipState, x: Tensor) -> Tensor:
    """x * hardsigmoid(x)."""
    return chip.run(HARDSWISH, (x,))


def sigmoid(chip: ChipState, x: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """1 / (1 + exp(-x))."""
    return SIGMOID.run(chip, x, compute)


def tanh(chip: ChipState, x: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """The hyperbolic tangent."""
    return TANH.run(chip, x, compute)


def gelu(
    chip: ChipState,
    x: Tensor,
    approximate: Literal["none", "tanh"] = "none",
    compute: ComputeConfig | None = None,
) -> Tensor:
    """x times the normal distribution below x.

    approximate "none": 0.5 x (1 + erf(x / sqrt(2))); "tanh": 0.5 x (1 + tanh(sqrt(2 / pi) (x +
    0.044715 x**3))), as many checkpoints were trained with. A config with `approx` takes one
    routine, of six straight lines, for both.

    Raises:
        InvalidArgument: `approximate` is another word.
    """
    if approximate not in ("none", "tanh"):
        hint = did_you_mean(nearest_name(approximate, ["none", "tanh"]))
        raise InvalidArgument(
            f"approximate (={approximate!r}){hint} Known: 'none', 'tanh'.", "gelu", chip.rank
        )
    return (GELU if approximate == "none" else GELU_TANH).run(chip, x, compute)


def softplus(chip: ChipState, x: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x is above the threshold."""
    return chip.run(SOFTPLUS, (x,), (beta, threshold))
