"""A mixture of experts: each token goes through the MLPs of a few experts.

Legend: T tokens (all leading dims of x), D model, E experts, k chosen for a token, F intermediate.
"""

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from .. import kernels
from ..cost import Work
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Tensor, TensorSpec
from .shared import fidelity_phases, narrow, num_tiles, quietly, require_float, wide

LIMIT: Final = np.float32(7.0)  # of the clamped SwiGLU, and its slope
ALPHA: Final = np.float32(1.702)
BIASES = ("gate_bias", "up_bias", "down_bias")


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-x)), np.float32)


def _clamped_swiglu(gate: Floats, up: Floats) -> Floats:
    """min(gate, 7) * sigmoid(1.702 gate) * (clip(up, -7, 7) + 1). Source: gpt-oss."""
    gate = np.minimum(gate, LIMIT)
    return np.asarray((np.clip(up, -LIMIT, LIMIT) + 1) * (gate * _sigmoid(gate * ALPHA)))


def _silu(gate: Floats, up: Floats) -> Floats:
    return np.asarray(gate * _sigmoid(gate) * up)


def _gelu_tanh(gate: Floats, up: Floats) -> Floats:
    inner = np.float32(math.sqrt(2 / math.pi)) * (gate + np.float32(0.044715) * gate**3)
    return np.asarray(np.float32(0.5) * gate * (1 + np.tanh(inner)) * up)


ACTIVATIONS: Final[Mapping[str, Callable[[Floats, Floats], Floats]]] = {
    "silu": _silu,
    "gelu_tanh": _gelu_tanh,
    "clamped_swiglu": _clamped_swiglu,
}


def _rule(
    activation: str,
    biases: tuple[str, ...],
    x: TensorSpec,
    chosen: TensorSpec,
    weights: TensorSpec,
    gate: TensorSpec,
    up: TensorSpec,
    down: TensorSpec,
    *given: TensorSpec,
) -> Plan:
    require_float(x=x, weights=weights, gate=gate, up=up, down=down)
    if activation not in ACTIVATIONS:
        raise InvalidArgument(
            f"activation (={activation!r}) must be one of {', '.join(ACTIVATIONS)}"
        )
    if chosen.dtype.is_float:
        raise DTypeError(f"chosen is {chosen.dtype} (expected indices: uint32 or int32)")
    if not x.shape or chosen.shape != weights.shape or chosen.shape[:-1] != x.shape[:-1]:
        raise ShapeError(
            f"x {x.shape}, chosen {chosen.shape}, weights {weights.shape} (expected [..., D], "
            "[..., k] and [..., k])"
        )
    if len(gate.shape) != 3 or gate.shape[2] != x.shape[-1]:
        raise ShapeError(f"gate {gate.shape} (expected [E, F, {x.shape[-1]}])")
    num, size, width = gate.shape
    if up.shape != gate.shape or down.shape != (num, width, size):
        raise ShapeError(
            f"gate {gate.shape}, up {up.shape}, down {down.shape} (expected up as gate, down "
            f"{(num, width, size)})"
        )
    for name, spec in zip(biases, given, strict=True):
        expected = (num, width if name == "down_bias" else size)
        if spec.shape != expected:
            raise ShapeError(f"{name} {spec.shape} (expected {expected})")
    return _plan(x, chosen, gate, up, down)


def _plan(
    x: TensorSpec, chosen: TensorSpec, gate: TensorSpec, up: TensorSpec, down: TensorSpec
) -> Plan:
    """Tokens spread evenly: as many experts are read as tokens ask for, at most all."""
    num, size, width = gate.shape
    calls = chosen.size
    hit = min(num, calls)
    rows = num_tiles(-(-calls // max(1, hit)))  # rows of tiles of one expert
    tiles = hit * rows * num_tiles(size) * num_tiles(width)
    weight_bytes = sum(spec.padded_bytes for spec in (gate, up, down)) * hit // max(1, num)
    work = Work(
        kind="matmul",
        flops=6 * calls * size * width,
        bytes_read=x.padded_bytes + weight_bytes,
        bytes_written=x.padded_bytes,
        num_tile_ops=3 * tiles,
        num_parallel=hit * rows * num_tiles(size),
        fidelity_phases=fidelity_phases(x, gate),
    )
    return Plan((x,), work)


@quietly
def _values(
    activation: str,
    biases: tuple[str, ...],
    x: Array,
    chosen: Array,
    weights: Array,
    gate: Array,
    up: Array,
    down: Array,
    *given: Array,
) -> Array:
    rows = x.reshape(-1, x.shape[-1])
    picks = chosen.reshape(len(rows), chosen.shape[-1]).astype(np.int64)
    shares = wide(weights).reshape(picks.shape)
    if picks.size and not 0 <= picks.min() <= picks.max() < len(gate):
        raise InvalidArgument(
            f"chosen holds {picks.min()} .. {picks.max()} (expected 0 .. {len(gate) - 1})"
        )
    bias = dict(zip(biases, given, strict=True))
    total = np.zeros(rows.shape, np.float32)
    for expert in np.unique(picks):
        tokens, places = np.nonzero(picks == expert)
        own = np.ascontiguousarray(rows[tokens])
        opened = _linear(own, gate[expert], bias.get("gate_bias"), expert)
        doubled = _linear(own, up[expert], bias.get("up_bias"), expert)
        hidden = narrow(ACTIVATIONS[activation](opened, doubled), x)
        closed = _linear(hidden, down[expert], bias.get("down_bias"), expert)
        np.add.at(total, tokens, shares[tokens, places, None] * closed)
    return narrow(total, x).reshape(x.shape)


def _linear(x: Array, weight: Array, bias: Array | None, expert: int) -> Floats:
    """x [T, K] . weight [N, K]^T + bias[expert], rounded to x's format, as float32."""
    out = np.empty((len(x), len(weight)), x.dtype)
    row = None if bias is None else wide(np.ascontiguousarray(bias[expert]))
    kernels.linear(x, np.ascontiguousarray(weight), row, out, len(x), *weight.shape)
    return wide(out)


EXPERTS = Op("experts", _rule, _values)


def experts(
    chip: ChipState,
    x: Tensor,
    chosen: Tensor,
    weights: Tensor,
    gate: Tensor,
    up: Tensor,
    down: Tensor,
    *,
    activation: str = "silu",
    gate_bias: Tensor | None = None,
    up_bias: Tensor | None = None,
    down_bias: Tensor | None = None,
) -> Tensor:
    """Send each token of x [..., D] through its experts; the sum of their outputs by `weights`.

    An expert e gives down[e] . (act(gate[e] . x) * (up[e] . x)); its products and what is between
    them are rounded to x's format, the weighted sum is float32, rounded once.

    Args:
        chosen: [..., k] indices of experts. weights: [..., k], what each of them counts.
        gate, up: [E, F, D]. down: [E, D, F]. Biases: [E, F], [E, F], [E, D].
        activation: "silu", "gelu_tanh", or "clamped_swiglu" (gpt-oss).
    Returns:
        [..., D] in x's dtype. The plan takes tokens to be spread evenly over the experts.
    Raises:
        ShapeError, DTypeError: the tensors do not fit together.
        InvalidArgument: an unknown activation, or an index of no expert.
    """
    named = dict(zip(BIASES, (gate_bias, up_bias, down_bias), strict=True))
    biases = tuple(name for name, tensor in named.items() if tensor is not None)
    given = tuple(tensor for tensor in named.values() if tensor is not None)
    return chip.run(EXPERTS, (x, chosen, weights, gate, up, down, *given), (activation, biases))
