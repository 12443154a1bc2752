"""Rotary position embedding, in both conventions: halves (Hugging Face) and pairs (Llama, GPT-J).

Legend: B batch, N heads, S sequence, H head dim.
"""

from collections.abc import Callable

import numpy as np

from .. import kernels
from ..cost import constants
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import TILE, Array, Floats, Tensor, TensorSpec
from .shared import (
    WORDS,
    elementwise_plan,
    narrow,
    quietly,
    require_float,
    require_rank,
    require_tiles,
    wide,
)

PASSES = int(constants()["rotary_passes"].value)
MATRIX_PASSES = int(constants()["rotary_matrix_passes"].value)


def _check(x_BNSH: TensorSpec, cosine: TensorSpec, sine: TensorSpec) -> None:
    require_float(x=x_BNSH, cos=cosine, sin=sine)
    require_rank(4, x=x_BNSH)
    require_tiles(x=x_BNSH, cos=cosine, sin=sine)
    heads, positions, width = x_BNSH.shape[1:]
    if width % 2 or not width or not positions:
        raise ShapeError(f"x {x_BNSH.shape}: the head dim must be even, and no dim 0")
    table, by_user = (positions, width), (1, heads, 1, width)
    if cosine.shape != sine.shape or cosine.shape not in (table, (1, 1, *table), by_user):
        raise ShapeError(
            f"cos {cosine.shape}, sin {sine.shape} (expected {table} each, as x is {x_BNSH.shape}; "
            f"or {by_user}, a position for each user)"
        )


def _rule(x_BNSH: TensorSpec, cosine: TensorSpec, sine: TensorSpec) -> Plan:
    _check(x_BNSH, cosine, sine)
    return elementwise_plan(x_BNSH, (x_BNSH, cosine, sine), passes=PASSES, flops=3)


def _values(x_BNSH: Array, cosine: Array, sine: Array) -> Array:
    if x_BNSH.itemsize != 2:
        return _float32(x_BNSH, wide(cosine), wide(sine))
    return _turned(kernels.rotary, x_BNSH, wide(cosine), wide(sine))


def _turned(turn: Callable[..., None], x_BNSH: Array, cosine: Floats, sine: Floats) -> Array:
    """Words turned by a loop of the kernels, with a table of all positions or of each user's."""
    out = np.empty(x_BNSH.shape, WORDS)
    rows, width = x_BNSH.shape[-2:]
    if cosine.ndim == 4 and cosine.shape[1:3] != (1, rows):  # a position serves a user's heads
        if cosine.shape[1] > 1:
            cosine, sine = (np.repeat(table, rows, axis=-2) for table in (cosine, sine))
        rows = cosine.size // width
    turn(x_BNSH, cosine, sine, out, rows, width)
    return out


@quietly
def _float32(x_BNSH: Array, cosine: Array, sine: Array) -> Array:
    half = x_BNSH.shape[-1] // 2
    turned_BNSH = np.concatenate((-x_BNSH[..., half:], x_BNSH[..., :half]), axis=-1)
    return np.asarray(x_BNSH * cosine + turned_BNSH * sine)


ROTARY = Op("rotary_embedding", _rule, _values)


def rotary_embedding(chip: ChipState, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the pairs (i, i + H/2) of x [B,N,S,H] by the angles of cos, sin [S,H].

    x * cos + rotate_half(x) * sin: the half-rotation convention of Hugging Face checkpoints. cos
    and sin may be float32 or bfloat16; float32 arithmetic, rounded once; the result has x's dtype.

    In decode x is [1,B,N,H], and cos and sin [1,B,1,H] hold the angles of each user's position.

    Raises:
        ShapeError: cos and sin are not [S,H], [1,1,S,H] or [1,B,1,H], or H is odd.
        InvalidArgument: an input is not in tiles.
    """
    return chip.run(ROTARY, (x, cos, sin))


def _pairs_rule(
    x_BNSH: TensorSpec, cosine: TensorSpec, sine: TensorSpec, *matrix: TensorSpec
) -> Plan:
    _check(x_BNSH, cosine, sine)
    for trans_mat in matrix:
        require_float(trans_mat=trans_mat)
        require_rank(4, trans_mat=trans_mat)
        rows, columns = trans_mat.shape[-2:]
        if columns != TILE or rows % TILE or not rows or x_BNSH.shape[-1] % TILE:
            raise ShapeError(
                f"trans_mat {trans_mat.shape} for x {x_BNSH.shape} (expected [1, 1, {TILE}, {TILE}]"
                f" and a head dim that is a multiple of {TILE})"
            )
    inputs = (x_BNSH, cosine, sine, *matrix)
    return elementwise_plan(x_BNSH, inputs, passes=MATRIX_PASSES, flops=4)


def _pairs_values(x_BNSH: Array, cosine: Array, sine: Array, *matrix: Array) -> Array:
    if x_BNSH.itemsize != 2 or matrix:
        return _pairs_float32(x_BNSH, wide(cosine), wide(sine), *matrix)
    return _turned(kernels.rotary_pairs, x_BNSH, wide(cosine), wide(sine))


@quietly
def _pairs_float32(x_BNSH: Array, cosine: Floats, sine: Floats, *matrix: Array) -> Array:
    x = wide(x_BNSH)
    turned: Floats = np.empty_like(x)
    if matrix:
        block = wide(matrix[0]).reshape(-1, TILE)[:TILE]
        np.matmul(x.reshape(-1, TILE), block, out=turned.reshape(-1, TILE))
    else:
        turned[..., 0::2] = -x[..., 1::2]
        turned[..., 1::2] = x[..., 0::2]
    return narrow(x * cosine + turned * sine, x_BNSH)


ROTARY_LLAMA = Op("rotary_embedding_llama", _pairs_rule, _pairs_values)


def rotary_embedding_llama(
    chip: ChipState, x: Tensor, cos: Tensor, sin: Tensor, trans_mat: Tensor | None = None
) -> Tensor:
    """Rotate the pairs (2i, 2i + 1) of x [B,N,S,H] by the angles of cos, sin [1,1,S,H].

    x * cos + (x . trans_mat) * sin in float32, rounded once to x's dtype, the matrix [1,1,32,32]
    being applied to every 32 columns. None stands for the matrix of the interleaved convention,
    which turns (a, b) into (-b, a). Angles stand twice, for both numbers of a pair.

    In decode x is [1,B,N,H], cos and sin are [1,B,1,H]; of a matrix for each user, [1,1,32 B,32],
    the first is used for all.

    Raises:
        ShapeError: cos and sin are not [S,H], [1,1,S,H] or [1,B,1,H]; H does not fit the matrix.
        InvalidArgument: an input is not in tiles.
    """
    matrix = () if trans_mat is None else (trans_mat,)
    return chip.run(ROTARY_LLAMA, (x, cos, sin, *matrix))
