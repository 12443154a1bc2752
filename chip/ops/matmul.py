"""Matrix products: operands masked as the config's fidelity says, float32 sums, one rounding.

What a fidelity masks: fidelity.py; accumulators narrower than float32, where a config asks for
them: accumulate.py. The matrix unit's own order of summing is not documented, so the last bits are
not those of silicon (docs/numerics.md).

Legend: B batch dims, M rows, K summed over, N columns.
"""

import math
from collections.abc import Callable

import numpy as np

from .. import kernels, special
from ..accumulate import rounded, summed
from ..compute_config import ComputeConfig, Fidelity
from ..conversion import COMPUTED
from ..cost import Product, Work
from ..dtype import DType
from ..errors import ShapeError
from ..fidelity import operands, upper, whole
from ..memory.circular import matmul_buffers
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Tensor, TensorSpec
from .shared import (
    dram_bytes,
    like,
    num_tile_rows,
    num_tiles,
    quietly,
    require_float,
    tile_bytes,
    wide,
)

Multiply = Callable[[Array, Array], Floats]  # float32 sums of whole rows by whole columns


def _matmul_rule(config: ComputeConfig, a: TensorSpec, b: TensorSpec) -> Plan:
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
    return _product_plan(config, output, a.shape[-1], (a, b))


def _product_plan(
    config: ComputeConfig, output: TensorSpec, length: int, inputs: tuple[TensorSpec, ...]
) -> Plan:
    sizes = num_tile_rows(output), num_tiles(length), num_tiles(output.shape[-1])
    tiles = tile_bytes(inputs[0]), tile_bytes(inputs[1]), tile_bytes(output)
    work = Work(
        kind="matmul",
        flops=2 * output.size * length,
        bytes_read=sum(spec.padded_bytes for spec in inputs),
        bytes_written=output.padded_bytes,
        num_tile_ops=math.prod(sizes),
        num_parallel=sizes[0] * sizes[2],
        fidelity_phases=config.fidelity.phases,
        product=Product(*sizes, *tiles, *map(dram_bytes, (*inputs[:2], output))),
    )
    buffers = matmul_buffers(*sizes, tiles)
    return Plan((output,), work, buffers)


@quietly
def _modelled(
    config: ComputeConfig, in0: Array, in1: Array, product: Multiply, bias: Floats | None = None
) -> Floats:
    """The float32 sums of in0 [..., M, K] x in1 [..., K, N], in all that a config can ask for."""
    if config.specials == "chip":
        in0, in1 = special.flush(in0), special.flush(in1)

    def part(start: int, stop: int) -> Floats:
        rows, columns = in0[..., start:stop], in1[..., start:stop, :]
        pairs = operands(config.fidelity, np.ascontiguousarray(rows), columns)
        terms = [product(*pair) for pair in pairs]
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    sums = summed(part, in0.shape[-1], config)
    if config.specials == "chip":
        sums = _saturated(config, in0, in1, sums)
    return sums if bias is None else sums + bias


def _saturated(config: ComputeConfig, in0: Array, in1: Array, sums: Floats) -> Floats:
    """The sums of a unit without inf and NaN: done again in float64 where they are not finite."""
    is_finite = np.isfinite(sums)
    if not is_finite.all():
        pairs = operands(config.fidelity, np.ascontiguousarray(in0), np.ascontiguousarray(in1))
        again = sum(
            np.matmul(special.numbers(wide(rows)), special.numbers(wide(columns)))
            for rows, columns in pairs
        )
        sums = np.where(is_finite, sums, special.saturate(np.asarray(again)))
    return special.saturate(sums.astype(np.float64))


def _matmul_product(a: Array, b: Array) -> Floats:
    return np.asarray(np.matmul(wide(a), wide(np.ascontiguousarray(b))))


@quietly
def _matmul_values(config: ComputeConfig, a: Array, b: Array) -> Array:
    return rounded(_modelled(config, a, b, _matmul_product), a, config.rounding)


MATMUL = Op("matmul", _matmul_rule, _matmul_values)


def matmul(chip: ChipState, a: Tensor, b: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """Multiply matrices: a [..., M, K] x b [..., K, N] -> [..., M, N], in a's dtype.

    Leading dims broadcast. The float32 sums are numpy's (BLAS): their order may differ between
    machines. See `linear` for a fixed order.

    Args:
        compute: fidelity, accumulator and rounding; None: what the chip's software chooses for
            these formats (bfloat16: HiFi2; float32: HiFi4, of TF32 operands).
    Raises:
        ShapeError: the inner or the leading dims do not fit.
        DTypeError: an input holds integers.
    """
    if compute is None:
        compute = ComputeConfig.default("matmul", a.spec.dtype, b.spec.dtype)
    return chip.run(MATMUL, (a, b), (compute,))


def _linear_rule(
    config: ComputeConfig, x: TensorSpec, weight: TensorSpec, bias: TensorSpec | None = None
) -> Plan:
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
    output = like(x, (*x.shape[:-1], weight.shape[0]))
    return _product_plan(config, output, weight.shape[1], inputs)


def _linear_values(
    config: ComputeConfig, x: Array, weight: Array, bias: Array | None = None
) -> Array:
    wide_bias = None if bias is None else wide(bias)
    if weight.dtype == np.uint8:
        bits = _bits_of(weight, x.shape[-1])
        if _reads_blocks(config, bits):
            return _linear_blocks(config, x, weight, bits, wide_bias)
        weight = _unpacked(weight, x.shape[-1], bits)
    pairs = operands(config.fidelity, x, weight) if config.is_one_sum else ()
    if len(pairs) == 1:
        out = np.empty((*x.shape[:-1], weight.shape[0]), x.dtype)
        _multiply(*pairs[0], wide_bias, out)
        return out
    sums = _modelled(config, x, weight.T, _linear_product, wide_bias)
    return rounded(sums, x, config.rounding)


def _bits_of(weight: Array, length: int) -> int:
    """Bits of an element of packed rows: 8 (bfp8_b), or else 4 (bfp4_b)."""
    return 8 if weight.shape[1] == DType.BFP8_B.row_bytes(length) else 4


def _reads_blocks(config: ComputeConfig, bits: int) -> bool:
    """Whether packed weights are multiplied as they are: the fidelity leaves them whole."""
    if not config.is_one_sum or config.fidelity is Fidelity.HIFI3:
        return False
    return config.fidelity is not Fidelity.LOFI or bits == 4


def _linear_blocks(
    config: ComputeConfig, x: Array, weight: Array, bits: int, bias: Floats | None
) -> Array:
    """The product with packed weights [N, bytes of a row]; only the activations are masked."""
    cuts = config.fidelity in (Fidelity.LOFI, Fidelity.HIFI2)
    rows = x if config.fidelity is Fidelity.EXACT else (upper if cuts else whole)(x, "b")
    out = np.empty((*x.shape[:-1], len(weight)), x.dtype)
    sizes = math.prod(x.shape[:-1]), len(weight), x.shape[-1]
    kernels.linear_block(rows, weight, bits, bias, out, *sizes)
    return out


def _unpacked(weight: Array, length: int, bits: int) -> Array:
    """Packed rows as bfloat16 words [N, K]."""
    padded = -(-length // 16) * 16
    words = np.empty((len(weight), padded), np.uint16)
    kernels.unpack_blocks(weight, words, padded, bits)
    return np.ascontiguousarray(words[:, :length])


def _linear_product(x: Array, columns: Array) -> Floats:
    out = np.empty((*x.shape[:-1], columns.shape[1]), np.float32)
    _multiply(x, np.ascontiguousarray(columns.T), None, out)
    return out


def _multiply(x: Array, weight: Array, bias: Floats | None, out: Array) -> None:
    n, k = weight.shape
    kernels.linear(x, weight, bias, out, math.prod(x.shape[:-1]), n, k)


PACKED = COMPUTED | {DType.BFP8_B, DType.BFP4_B}
LINEAR = Op("linear", _linear_rule, _linear_values, native=(COMPUTED, PACKED, COMPUTED))


def linear(
    chip: ChipState,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """Apply a linear layer: x [..., K] . weight [N, K]^T + bias [N] -> [..., N], in x's dtype.

    The weight lies as in a checkpoint, a row per output; bfloat16 weights stay 16-bit words in
    memory, bfp8_b and bfp4_b weights stay packed. With the compiled core the order of the float32
    sums is fixed: a row gives the same bits alone or among others, on any machine. The numpy
    fallback sums in BLAS's order, so the two agree to float32 rounding. The bias is added to the
    float32 sum.

    Args:
        compute: as of `matmul`.
    Raises:
        ShapeError: x, weight and bias do not fit.
        DTypeError: an input holds integers.
    """
    if compute is None:
        compute = ComputeConfig.default("linear", x.spec.dtype, weight.spec.dtype)
    return chip.run(LINEAR, (x, weight) if bias is None else (x, weight, bias), (compute,))
