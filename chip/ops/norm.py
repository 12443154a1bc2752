"""Normalisation of rows. For rows cut over chips see distributed_norm.

Legend: D length of a row.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .. import kernels
from ..cost import constants
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Tensor, TensorSpec
from .optional import Roles, run_given
from .shared import (
    WORDS,
    elementwise_plan,
    narrow,
    num_tile_rows,
    quietly,
    require_float,
    require_tiles,
    wide,
)

RMS_PASSES = int(constants()["rms_norm_passes"].value)
LAYER_PASSES = int(constants()["layer_norm_passes"].value)


def norm_plan(passes: int, eps: float, given: Mapping[str, TensorSpec]) -> Plan:
    """The plan of a norm of `x`, with what else is given: weight and bias [D], residual as x."""
    x = given["x"]
    require_float(**given)
    require_tiles(x=x)
    if not x.shape or not x.shape[-1]:
        raise ShapeError(f"x {x.shape} (expected [..., D], D > 0)")
    for role in ("weight", "bias"):
        if role in given and given[role].size != x.shape[-1]:
            raise ShapeError(
                f"x {x.shape} with {role} {given[role].shape} "
                f"(expected {x.shape[-1]} numbers, as in a row)"
            )
    if "residual" in given and given["residual"].shape != x.shape:
        raise ShapeError(f"residual {given['residual'].shape} (expected {x.shape}, as x)")
    if eps < 0:
        raise InvalidArgument(f"eps (={eps}) must be >= 0")
    more = len(given.keys() & {"bias", "residual"})
    plan = elementwise_plan(
        x,
        tuple(given.values()),
        passes=passes + more,
        flops=passes + 1 + more,
        num_parallel=num_tile_rows(x),
    )
    # once for the statistics of a row, once to scale it
    return replace(plan, work=replace(plan.work, again_bytes=x.padded_bytes))


def scale_rows(rows: Floats, scale: Floats, given: Mapping[str, Array]) -> Floats:
    """rows * scale [..., 1], then weight and bias where they are given."""
    result = rows * scale
    if "weight" in given:
        result *= wide(given["weight"]).reshape(-1)
    if "bias" in given:
        result += wide(given["bias"]).reshape(-1)
    return result


def rsqrt(squares: Floats | np.float32, eps: float) -> Floats:
    """1 / sqrt(squares + eps) in float32."""
    return np.asarray(np.float32(1) / np.sqrt(squares + np.float32(eps)), np.float32)


def _rms_rule(eps: float, roles: Roles, *specs: TensorSpec) -> Plan:
    return norm_plan(RMS_PASSES, eps, dict(zip(roles, specs, strict=True)))


def _rms_values(eps: float, roles: Roles, x: Array, *others: Array) -> Array:
    return _rms_float32(eps, x, dict(zip(roles[1:], others, strict=True)))


@quietly
def _rms_float32(eps: float, x: Array, given: Mapping[str, Array]) -> Array:
    rows = _with_residual(x, given)
    squares = np.mean(rows * rows, axis=-1, keepdims=True, dtype=np.float32)
    return narrow(scale_rows(rows, rsqrt(squares, eps), given), x)


def _with_residual(x: Array, given: Mapping[str, Array]) -> Floats:
    return wide(x) + wide(given["residual"]) if "residual" in given else wide(x)


def _weighted_rule(eps: float, x: TensorSpec, weight: TensorSpec) -> Plan:
    return norm_plan(RMS_PASSES, eps, {"x": x, "weight": weight})


def _weighted_values(eps: float, x: Array, weight: Array) -> Array:
    if x.itemsize != 2:
        return _rms_float32(eps, x, {"weight": weight})
    out = np.empty(x.shape, WORDS)
    rows = wide(weight)
    kernels.rms_norm(x, rows if rows.ndim == 1 else rows.ravel(), out, eps)
    return out


RMS_NORM = Op("rms_norm", _rms_rule, _rms_values)
WEIGHTED_RMS_NORM = Op("rms_norm", _weighted_rule, _weighted_values)  # what a decode step asks for


def rms_norm(
    chip: ChipState,
    x: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-12,
    *,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Divide each row of x [..., D] by its root mean square, multiply by weight, add bias.

    x / sqrt(mean(x**2) + eps) * weight + bias in float32, rounded once at the end to x's dtype (a
    chip may round between the steps). A residual is added to x first. Weight and bias hold D
    numbers in any shape: [D], [1, 1, 1, D] or [1, 1, D / 32, 32].

    Raises:
        ShapeError: weight or bias is not as long as a row; the residual is not of x's shape.
        InvalidArgument: eps is negative; x is not in tiles.
    """
    if weight is not None and bias is None and residual is None:
        return chip.run(WEIGHTED_RMS_NORM, (x, weight), (eps,))
    return run_given(chip, RMS_NORM, (eps,), x=x, weight=weight, bias=bias, residual=residual)


def _layer_rule(eps: float, roles: Roles, *specs: TensorSpec) -> Plan:
    return norm_plan(LAYER_PASSES, eps, dict(zip(roles, specs, strict=True)))


def _layer_values(eps: float, roles: Roles, x: Array, *others: Array) -> Array:
    given = dict(zip(roles[1:], others, strict=True))
    if x.itemsize != 2 or "residual" in given:
        return _layer_float32(eps, x, given)
    out = np.empty(x.shape, WORDS)
    length = x.shape[-1]
    weight = wide(given["weight"]).ravel() if "weight" in given else np.ones(length, np.float32)
    bias = wide(given["bias"]).ravel() if "bias" in given else np.zeros(length, np.float32)
    kernels.layer_norm(x, weight, bias, out, eps)
    return out


@quietly
def _layer_float32(eps: float, x: Array, given: Mapping[str, Array]) -> Array:
    rows = _with_residual(x, given)
    centred = rows - np.mean(rows, axis=-1, keepdims=True, dtype=np.float32)
    variance = np.mean(centred * centred, axis=-1, keepdims=True, dtype=np.float32)
    return narrow(scale_rows(centred, rsqrt(variance, eps), given), x)


LAYER_NORM = Op("layer_norm", _layer_rule, _layer_values)


def layer_norm(
    chip: ChipState,
    x: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-12,
    *,
    residual: Tensor | None = None,
) -> Tensor:
    """Subtract each row's mean from x [..., D], divide by its deviation, multiply and add.

    (x - mean) / sqrt(mean((x - mean)**2) + eps) * weight + bias in float32, rounded once at the
    end to x's dtype. A residual is added to x first.

    Raises:
        ShapeError: weight or bias is not as long as a row; the residual is not of x's shape.
        InvalidArgument: eps is negative; x is not in tiles.
    """
    return run_given(chip, LAYER_NORM, (eps,), x=x, weight=weight, bias=bias, residual=residual)
