"""Norms of rows that are cut over chips: statistics, then (after an all-gather) the norm.

    stats = rms_norm_pre_all_gather(x)      # on each chip: [..., 32], one column in use
    stats = all_gather(stats, dim=-1)       # [..., 32 C]
    out = rms_norm_post_all_gather(x, stats, weight)

Legend: D columns on this chip, C chips.
"""

import numpy as np

from ..cost import constants
from ..dtype import DType
from ..errors import DTypeError, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import TILE, Array, Floats, Tensor, TensorSpec
from .norm import LAYER_PASSES, RMS_PASSES, norm_plan, rsqrt, scale_rows
from .optional import Roles, run_given
from .shared import (
    elementwise_plan,
    like,
    narrow,
    num_tile_rows,
    quietly,
    require_float,
    require_tiles,
    wide,
)

STATISTICS_PASSES = int(constants()["norm_statistics_passes"].value)


def _pre_rule(num_statistics: int, dtype: DType, x: TensorSpec) -> Plan:
    require_float(x=x)
    require_tiles(x=x)
    if not x.shape or not x.shape[-1]:
        raise ShapeError(f"x {x.shape} (expected [..., D], D > 0)")
    if dtype not in (DType.FLOAT32, DType.BFLOAT16):
        raise DTypeError(f"statistics as {dtype} (expected bfloat16 or float32)")
    shape = (*x.shape[:-1], num_statistics * TILE)
    work = elementwise_plan(
        x,
        (x,),
        passes=num_statistics * STATISTICS_PASSES,
        flops=2 * num_statistics,
        num_parallel=num_tile_rows(x),
    ).work
    return Plan((like(x, shape, dtype),), work)


@quietly
def _pre_values(num_statistics: int, dtype: DType, x: Array) -> Array:
    rows = wide(x)
    stats = np.zeros((*x.shape[:-1], num_statistics * TILE), np.float32)
    stats[..., 0] = np.sum(rows * rows, axis=-1, dtype=np.float32)
    if num_statistics > 1:
        stats[..., TILE] = np.sum(rows, axis=-1, dtype=np.float32)
    return narrow(stats, np.empty(0, dtype.numpy))


RMS_NORM_PRE = Op("rms_norm_pre_all_gather", _pre_rule, _pre_values)
LAYER_NORM_PRE = Op("layer_norm_pre_all_gather", _pre_rule, _pre_values)


def rms_norm_pre_all_gather(
    chip: ChipState, x: Tensor, dtype: DType | str = DType.BFLOAT16
) -> Tensor:
    """The statistics of this chip's part of each row: x [..., D] -> [..., 32].

    Column 0 is the sum of squares, the rest of the tile zeros.

    Args:
        dtype: of the statistics; bfloat16 (the default, as in ttnn) keeps 8 bits of a sum.
    Raises:
        InvalidArgument: x is not in tiles. DTypeError: dtype is neither bfloat16 nor float32.
    """
    return chip.run(RMS_NORM_PRE, (x,), (1, DType.parse(dtype)))


def layer_norm_pre_all_gather(
    chip: ChipState, x: Tensor, dtype: DType | str = DType.BFLOAT16
) -> Tensor:
    """The statistics of this chip's part of each row: x [..., D] -> [..., 64].

    Column 0 is the sum of squares, column 32 the sum, the rest zeros. Arguments and errors as of
    `rms_norm_pre_all_gather`.
    """
    return chip.run(LAYER_NORM_PRE, (x,), (2, DType.parse(dtype)))


def _post_rule(num_statistics: int, eps: float, roles: Roles, *specs: TensorSpec) -> Plan:
    given = dict(zip(roles, specs, strict=True))
    x, stats = given["x"], given["stats"]
    plan = norm_plan(RMS_PASSES if num_statistics == 1 else LAYER_PASSES, eps, given)
    width = num_statistics * TILE
    if stats.shape[:-1] != x.shape[:-1] or not stats.shape[-1] or stats.shape[-1] % width:
        raise ShapeError(
            f"stats {stats.shape} (expected {(*x.shape[:-1], width)} with the last dim times the "
            f"number of chips, as x is {x.shape})"
        )
    return plan


@quietly
def _post_values(
    num_statistics: int, eps: float, roles: Roles, x: Array, stats: Array, *others: Array
) -> Array:
    given = dict(zip(roles[2:], others, strict=True))
    num_chips = stats.shape[-1] // (num_statistics * TILE)
    parts: Floats = wide(stats).reshape(*x.shape[:-1], num_chips, num_statistics * TILE)
    count = np.float32(num_chips * x.shape[-1])
    rows = wide(x)
    spread = (parts[..., 0].sum(axis=-1, dtype=np.float32) / count)[..., None]
    if num_statistics > 1:
        mean = (parts[..., TILE].sum(axis=-1, dtype=np.float32) / count)[..., None]
        rows, spread = rows - mean, np.maximum(spread - mean * mean, np.float32(0))
    return narrow(scale_rows(rows, rsqrt(spread, eps), given), x)


RMS_NORM_POST = Op("rms_norm_post_all_gather", _post_rule, _post_values)
LAYER_NORM_POST = Op("layer_norm_post_all_gather", _post_rule, _post_values)


def rms_norm_post_all_gather(
    chip: ChipState,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None = None,
    eps: float = 1e-12,
    *,
    bias: Tensor | None = None,
) -> Tensor:
    """The RMS norm of this chip's part x [..., D] of rows, by gathered statistics [..., 32 C].

    Every chip holds as many columns (D) of a row; weight and bias are this chip's D numbers.

    Raises:
        ShapeError: stats are not those of C chips, or weight or bias not as long as x's rows.
        InvalidArgument: eps is negative; x is not in tiles.
    """
    inputs = {"x": x, "stats": stats, "weight": weight, "bias": bias}
    return run_given(chip, RMS_NORM_POST, (1, eps), **inputs)


def layer_norm_post_all_gather(
    chip: ChipState,
    x: Tensor,
    stats: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-12,
) -> Tensor:
    """The layer norm of this chip's part x [..., D] of rows, by gathered statistics [..., 64 C].

    The variance is mean(x**2) - mean**2, so it is rough where the mean is large beside the
    deviation. Arguments and errors as of `rms_norm_post_all_gather`.
    """
    inputs = {"x": x, "stats": stats, "weight": weight, "bias": bias}
    return run_given(chip, LAYER_NORM_POST, (2, eps), **inputs)
