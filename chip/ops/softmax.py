"""Softmax, alone and after scale and mask."""

from collections.abc import Mapping

import numpy as np

from .. import kernels
from ..cost import constants
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Shape, Tensor, TensorSpec
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


def _rule(dim: int, x: TensorSpec) -> Plan:
    require_float(x=x)
    require_tiles(x=x)
    normal_dim(dim, x.shape)
    return elementwise_plan(x, (x,), "sfpu", passes=PASSES, flops=5)


@quietly
def _values(dim: int, x: Array) -> Array:
    if not x.size:
        return x.copy()
    return narrow(_probabilities(wide(x), dim), x)


def _probabilities(scores: Floats, dim: int) -> Floats:
    """exp(x - max) / sum along a dim, which is turned to be the last."""
    rows = np.ascontiguousarray(np.moveaxis(scores, dim, -1))
    out = np.empty_like(rows)
    kernels.softmax(rows, out, rows.shape[-1])
    return np.ascontiguousarray(np.moveaxis(out, -1, dim))


SOFTMAX = Op("softmax", _rule, _values)


def softmax(chip: ChipState, x: Tensor, dim: int = -1) -> Tensor:
    """Turn scores into probabilities along a dim: exp(x - max) / sum, in float32, rounded once.

    Raises:
        ShapeError: x has no such dim.
        InvalidArgument: x is not in tiles.
    """
    return chip.run(SOFTMAX, (x,), (dim,))


def _masked_rule(scale: float, is_causal: bool, roles: Roles, *specs: TensorSpec) -> Plan:
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
def _masked_values(scale: float, is_causal: bool, roles: Roles, x: Array, *others: Array) -> Array:
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
    return narrow(_probabilities(scores, -1), x)


SCALE_MASK_SOFTMAX = Op("scale_mask_softmax", _masked_rule, _masked_values)


def scale_mask_softmax(
    chip: ChipState,
    x: Tensor,
    scale: float | None = None,
    mask: Tensor | None = None,
    *,
    is_causal: bool = False,
) -> Tensor:
    """softmax(x * scale + mask) along the last dim of x [..., S, L], in float32, rounded once.

    Args:
        mask: added to the scaled scores; any of its dims may be 1 and leading ones may be missing.
            A row that is -inf throughout gives NaN.
        is_causal: row i sees columns 0 .. i + L - S only (ttnn wants that mask as a tensor).
    Raises:
        ShapeError: the mask does not repeat to x's shape; causal with fewer columns than rows.
        InvalidArgument: x is not in tiles; the scale is not finite.
    """
    params = (1.0 if scale is None else scale, is_causal)
    return run_given(chip, SCALE_MASK_SOFTMAX, params, x=x, mask=mask)
