"""Softmax, alone and after scale and mask.

With a compute config it is done step by step, and each step's result is what Dst holds: x - max,
exp by a routine of the vector unit, the float32 sum, 1 / sum by a routine, and the product.
"""

from collections.abc import Mapping

import numpy as np

from .. import kernels
from ..accumulate import rounded
from ..compute_config import ComputeConfig
from ..cost import constants
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Shape, Tensor, TensorSpec
from . import vector_unit
from .optional import Roles, run_given
from .shared import (
    elementwise_plan,
    narrow,
    normal_dim,
    quietly,
    require_float,
    require_tiles,
    wide,
)

PASSES = int(constants()["softmax_passes"].value)


def _rule(dim: int, compute: ComputeConfig | None, x: TensorSpec) -> Plan:
    require_float(x=x)
    require_tiles(x=x)
    normal_dim(dim, x.shape)
    return elementwise_plan(x, (x,), "sfpu", passes=PASSES, flops=5)


@quietly
def _values(dim: int, compute: ComputeConfig | None, x: Array) -> Array:
    if not x.size:
        return x.copy()
    return _softmax(compute, wide(x), dim, x)


def _softmax(compute: ComputeConfig | None, scores: Floats, dim: int, like: Array) -> Array:
    """The softmax of scores, in the format of `like`."""
    if compute is None:
        return narrow(_probabilities(scores, dim), like)
    return rounded(_stepwise(compute, scores, dim), like, compute.rounding)


def _stepwise(config: ComputeConfig, scores: Floats, dim: int) -> Floats:
    below = vector_unit.held(config, scores - scores.max(axis=dim, keepdims=True))
    powers = vector_unit.EXP.of(config, np.exp, below)
    total = vector_unit.held(config, powers.sum(axis=dim, keepdims=True, dtype=np.float32))
    shares = vector_unit.RECIPROCAL.of(config, np.reciprocal, total)
    return vector_unit.held(config, powers * shares)


def _probabilities(scores: Floats, dim: int) -> Floats:
    """exp(x - max) / sum along a dim, which is turned to be the last."""
    rows = np.ascontiguousarray(np.moveaxis(scores, dim, -1))
    out = np.empty_like(rows)
    kernels.softmax(rows, out, rows.shape[-1])
    return np.ascontiguousarray(np.moveaxis(out, -1, dim))


SOFTMAX = Op("softmax", _rule, _values)


def softmax(
    chip: ChipState, x: Tensor, dim: int = -1, compute: ComputeConfig | None = None
) -> Tensor:
    """Turn scores into probabilities along a dim: exp(x - max) / sum, in float32, rounded once.

    Args:
        compute: `approx`, `fp32_dest_acc` and `rounding` count; None: as said above.
    Raises:
        ShapeError: x has no such dim.
        InvalidArgument: x is not in tiles.
    """
    return chip.run(SOFTMAX, (x,), (dim, compute))


def _masked_rule(
    scale: float,
    is_causal: bool,
    compute: ComputeConfig | None,
    roles: Roles,
    *specs: TensorSpec,
) -> Plan:
    given = dict(zip(roles, specs, strict=True))
    x = given["x"]
    require_float(**given)
    require_tiles(x=x)
    if len(x.shape) < 2:
        raise ShapeError(f"x {x.shape} (expected 2 dims or more: rows and columns)")
    if "mask" in given:
        check_mask(given["mask"].shape, x.shape)
    if is_causal and x.shape[-1] < x.shape[-2]:
        raise ShapeError(f"x {x.shape} with is_causal (expected no fewer columns than rows)")
    if not np.isfinite(scale):
        raise InvalidArgument(f"scale (={scale}) must be finite")
    return elementwise_plan(
        x, tuple(given.values()), "sfpu", passes=PASSES + len(given), flops=5 + len(given)
    )


def check_mask(mask: Shape, scores: Shape) -> None:
    """Raise ShapeError unless a mask of this shape repeats to the scores' shape."""
    aligned = (1,) * (len(scores) - len(mask)) + mask
    if len(mask) > len(scores) or any(
        have not in (1, want) for have, want in zip(aligned, scores, strict=True)
    ):
        raise ShapeError(f"mask {mask} (expected {scores}, where any dim may be 1)")


@quietly
def _masked_values(
    scale: float,
    is_causal: bool,
    compute: ComputeConfig | None,
    roles: Roles,
    x: Array,
    *others: Array,
) -> Array:
    given: Mapping[str, Array] = dict(zip(roles[1:], others, strict=True))
    if not x.size:
        return x.copy()
    scores = wide(x) * np.float32(scale)
    if "mask" in given:
        scores += wide(given["mask"])
    if is_causal:
        rows, columns = x.shape[-2:]
        seen = np.tri(rows, columns, columns - rows, dtype=bool)
        scores[..., ~seen] = -np.inf
    return _softmax(compute, scores, -1, x)


SCALE_MASK_SOFTMAX = Op("scale_mask_softmax", _masked_rule, _masked_values)


def scale_mask_softmax(
    chip: ChipState,
    x: Tensor,
    scale: float | None = None,
    mask: Tensor | None = None,
    *,
    is_causal: bool = False,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """softmax(x * scale + mask) along the last dim of x [..., S, L], in float32, rounded once.

    Args:
        mask: added to the scaled scores; any of its dims may be 1 and leading ones may be missing.
            A row that is -inf throughout gives NaN.
        is_causal: row i sees columns 0 .. i + L - S only (ttnn wants that mask as a tensor).
        compute: as of `softmax`.
    Raises:
        ShapeError: the mask does not repeat to x's shape; causal with fewer columns than rows.
        InvalidArgument: x is not in tiles; the scale is not finite.
    """
    params = (1.0 if scale is None else scale, is_causal, compute)
    return run_given(chip, SCALE_MASK_SOFTMAX, params, x=x, mask=mask)
