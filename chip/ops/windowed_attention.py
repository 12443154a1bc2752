"""Attention over a key-value cache that sees a window only, or has sinks.

Legend: B batch, N query heads, K key-value heads, S new positions, L positions the cache can hold,
H head dim.
"""

import numpy as np

from ..compute_config import ComputeConfig
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..memory.written import Touch
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .attention import attention_plan, attention_size, causal_pairs, scale_of
from .attention_values import hidden, mix
from .shared import narrow, quietly, require_float, wide


def _rule(
    start: int,
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    q_BNSH: TensorSpec,
    k_BKLH: TensorSpec,
    v_BKLH: TensorSpec,
    sinks: TensorSpec | None = None,
) -> Plan:
    size = attention_size(q_BNSH, k_BKLH, v_BKLH)
    if k_BKLH.dtype.computed_as is not q_BNSH.dtype.computed_as:
        raise DTypeError(f"q {q_BNSH}, k {k_BKLH} (expected k that is computed as q is)")
    capacity = k_BKLH.shape[2]
    if start < 0 or start + size.positions > capacity:
        raise InvalidArgument(
            f"positions {start} .. {start + size.positions - 1} (expected within 0 .. "
            f"{capacity - 1}, which k and v hold)"
        )
    if window is not None and window < 1:
        raise InvalidArgument(f"window (={window}) must be >= 1")
    if sinks is not None:
        require_float(sinks=sinks)
        if sinks.shape != (1, size.heads, 1, 1):
            raise ShapeError(f"sinks {sinks.shape} (expected {(1, size.heads, 1, 1)})")
    pairs = size.batch * causal_pairs(size.positions, start, window)
    seen = start + size.positions - _first_seen(start, window)
    more = 0 if sinks is None else sinks.padded_bytes
    return attention_plan(compute, q_BNSH, size, k_BKLH, (seen,) * size.batch, pairs, more)


def _first_seen(start: int, window: int | None) -> int:
    """The first key that the first query sees."""
    return 0 if window is None else max(0, start + 1 - window)


@quietly
def _values(
    start: int,
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    q_BNSH: Array,
    k_BKLH: Array,
    v_BKLH: Array,
    sinks: Array | None = None,
) -> Array:
    first, positions = _first_seen(start, window), q_BNSH.shape[2]
    bias = hidden(positions, start + positions - first, start - first, True, window)
    sink_N = None if sinks is None else wide(sinks).reshape(-1)
    seen = slice(first, start + positions)
    users = [
        mix(scale, compute, q_NSH, k_KLH[:, seen], v_KLH[:, seen], bias, sink_N)
        for q_NSH, k_KLH, v_KLH in zip(q_BNSH, k_BKLH, v_BKLH, strict=True)
    ]
    return narrow(np.stack(users) if users else np.empty(q_BNSH.shape, np.float32), q_BNSH)


def _touches(
    start: int,
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    q_BNSH: TensorSpec,
    k_BKLH: TensorSpec,
    v_BKLH: TensorSpec,
    *sinks: TensorSpec,
) -> tuple[Touch, ...]:
    rows = slice(_first_seen(start, window), start + q_BNSH.shape[2])
    seen = Touch((slice(None), slice(None), rows))
    return (Touch(), seen, seen, *(Touch() for _ in sinks))


WINDOWED_ATTENTION = Op("windowed_attention", _rule, _values, touches=_touches)


def windowed_attention(
    chip: ChipState,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    start: int,
    scale: float | None = None,
    window: int | None = None,
    sinks: Tensor | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """Attend as `attention` does, but see only a window of keys, or share with sinks.

    Args:
        start: positions already in the cache before the S of q [B,N,S,H].
        scale: what scores are multiplied by; None: 1 / sqrt(H).
        window: how many keys a query sees, its own included; None: all before it.
        sinks: [1,N,1,1], a score of each head that takes probability and gives none; it is
            multiplied by `scale` like the others, as in ttnn.
        compute: as of `attention`.
    Raises:
        ShapeError, DTypeError: the tensors do not fit.
        InvalidArgument: the positions lie beyond the cache, or the window is empty.
    """
    inputs = (q, k, v) if sinks is None else (q, k, v, sinks)
    return chip.run(WINDOWED_ATTENTION, inputs, (start, scale_of(q, scale), window, compute))
