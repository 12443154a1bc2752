"""Matrix products: operands widened to float32, float32 sums, one rounding to nearest even.

The matrix unit's own order of summing is not documented, so the last bits are not those of silicon.
Fidelity (how many multiplier passes) enters the time only: every product here is exact in float32,
as with HiFi4.

Legend: B batch dims, M rows, K summed over, N columns.
"""

import math

import numpy as np

from .. import kernels
from ..cost import Work
from ..errors import ShapeError
from ..memory.circular import matmul_buffers
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import (
    fidelity_phases,
    like,
    narrow,
    num_tile_rows,
    num_tiles,
    quietly,
    require_float,
    tile_bytes,
    wide,
)


def _matmul_rule(a: TensorSpec, b: TensorSpec) -> Plan:
    require_float(a=a, b=b)
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise ShapeError(f"{a.shape} x {b.shape} (expected two dims or more each)")
    if a.shape[-1] != b.shape[-2]:
        raise ShapeError(
            f"{a.shape} x {b.shape}: {a.shape[-1]} columns of a meet {b.shape[-2]} rows of b"
        )
    try:
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        raise ShapeError(f"{a.shape} x {b.shape}: the leading dims do not broadcast") from None
    output = like(a, (*batch, a.shape[-2], b.shape[-1]))
    return _product_plan(output, a.shape[-1], (a, b))


def _product_plan(output: TensorSpec, length: int, inputs: tuple[TensorSpec, ...]) -> Plan:
    work = Work(
        kind="matmul",
        flops=2 * output.size * length,
        bytes_read=sum(spec.padded_bytes for spec in inputs),
        bytes_written=output.padded_bytes,
        num_tile_ops=num_tile_rows(output) * num_tiles(length) * num_tiles(output.shape[-1]),
        num_parallel=num_tile_rows(output) * num_tiles(output.shape[-1]),
        fidelity_phases=fidelity_phases(*inputs),
    )
    buffers = matmul_buffers(
        num_tile_rows(output),
        num_tiles(length),
        num_tiles(output.shape[-1]),
        (tile_bytes(inputs[0]), tile_bytes(inputs[1]), tile_bytes(output)),
    )
    return Plan((output,), work, buffers)


@quietly
def _matmul_values(a: Array, b: Array) -> Array:
    return narrow(np.matmul(wide(a), wide(b)), a)


MATMUL = Op("matmul", _matmul_rule, _matmul_values)


def matmul(chip: ChipState, a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices: a [..., M, K] x b [..., K, N] -> [..., M, N], in a's dtype.

    Leading dims broadcast. The float32 sums are numpy's (BLAS): their order may differ between
    machines. See `linear` for a fixed order.

    Raises:
        ShapeError: the inner or the leading dims do not fit.
        DTypeError: an input holds integers.
    """
    return chip.run(MATMUL, (a, b))


def _linear_rule(x: TensorSpec, weight: TensorSpec, bias: TensorSpec | None = None) -> Plan:
    require_float(x=x, weight=weight)
    if not x.shape or len(weight.shape) != 2 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"x {x.shape} x weight {weight.shape} (expected x [..., K] and weight [N, K])"
        )
    if min(weight.shape) < 1:
        raise ShapeError(f"weight {weight.shape} (expected one row and one column or more)")
    inputs: tuple[TensorSpec, ...] = (x, weight)
    if bias is not None:
        require_float(bias=bias)
        if bias.shape != weight.shape[:1]:
            raise ShapeError(
                f"bias {bias.shape} (expected {weight.shape[:1]}, the rows of the weight)"
            )
        inputs = (x, weight, bias)
    return _product_plan(like(x, (*x.shape[:-1], weight.shape[0])), weight.shape[1], inputs)


def _linear_values(x: Array, weight: Array, bias: Array | None = None) -> Array:
    n, k = weight.shape
    out = np.empty((*x.shape[:-1], n), x.dtype)
    kernels.linear(
        x, weight, None if bias is None else wide(bias), out, math.prod(x.shape[:-1]), n, k
    )
    return out


LINEAR = Op("linear", _linear_rule, _linear_values)


def linear(chip: ChipState, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Apply a linear layer: x [..., K] . weight [N, K]^T + bias [N] -> [..., N], in x's dtype.

    The weight lies as in a checkpoint, a row per output; bfloat16 weights stay 16-bit words in
    memory. With the compiled core the order of the float32 sums is fixed: a row gives the same bits
    alone or among others, on any machine. The numpy fallback sums in BLAS's order, so the two agree
    to float32 rounding.

    Raises:
        ShapeError: x, weight and bias do not fit.
        DTypeError: an input holds integers.
    """
    return chip.run(LINEAR, (x, weight) if bias is None else (x, weight, bias))
