"""Rotary position embedding.

Legend: B batch, N heads, S sequence, H head dim.
"""

import numpy as np

from .. import kernels
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import WORDS, elementwise_plan, quietly, require_float, require_rank, wide

PASSES = 3  # two products and a sum


def _rule(x_BNSH: TensorSpec, cosine_SH: TensorSpec, sine_SH: TensorSpec) -> Plan:
    require_float(x=x_BNSH, cos=cosine_SH, sin=sine_SH)
    require_rank(4, x=x_BNSH)
    if x_BNSH.shape[-1] % 2 or not x_BNSH.shape[-1] or not x_BNSH.shape[-2]:
        raise ShapeError(f"x {x_BNSH.shape}: the head dim must be even, and no dim 0")
    if not cosine_SH.shape == sine_SH.shape == x_BNSH.shape[-2:]:
        raise ShapeError(
            f"cos {cosine_SH.shape}, sin {sine_SH.shape} "
            f"(expected {x_BNSH.shape[-2:]} each, as x is {x_BNSH.shape})"
        )
    return elementwise_plan(x_BNSH, (x_BNSH, cosine_SH, sine_SH), passes=PASSES, flops=3)


def _values(x_BNSH: Array, cosine_SH: Array, sine_SH: Array) -> Array:
    if x_BNSH.itemsize != 2:
        return _float32(x_BNSH, wide(cosine_SH), wide(sine_SH))
    out = np.empty(x_BNSH.shape, WORDS)
    kernels.rotary(x_BNSH, wide(cosine_SH), wide(sine_SH), out, *cosine_SH.shape)
    return out


@quietly
def _float32(x_BNSH: Array, cosine_SH: Array, sine_SH: Array) -> Array:
    half = x_BNSH.shape[-1] // 2
    turned_BNSH = np.concatenate((-x_BNSH[..., half:], x_BNSH[..., :half]), axis=-1)
    return np.asarray(x_BNSH * cosine_SH + turned_BNSH * sine_SH)


ROTARY = Op("rotary_embedding", _rule, _values)


def rotary_embedding(chip: ChipState, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + H/2) of x [B,N,S,H] by the angles of cos, sin [S,H].

    x * cos + rotate_half(x) * sin: the half-rotation convention of Hugging Face checkpoints. cos
    and sin may be float32 or bfloat16; float32 arithmetic, rounded once; the result has x's dtype.

    Raises:
        ShapeError: cos and sin are not [S,H], or H is odd.
    """
    return chip.run(ROTARY, (x, cos, sin))
