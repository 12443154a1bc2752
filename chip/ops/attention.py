"""Attention over a key-value cache, and what all forms of attention share.

Without a compute config no operand is masked, and the time is that of ttnn's default (HiFi2).

Legend: B batch, N query heads, K key-value heads, S new positions, L positions the cache can hold,
H head dim.
"""

import math
from typing import NamedTuple

from ..compute_config import ComputeConfig
from ..cost import Work
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..memory.circular import attention_buffers
from ..memory.written import Touch
from ..state import ChipState, Op, Plan
from ..tensor import Tensor, TensorSpec
from .attention_values import attend
from .shared import (
    fidelity_phases,
    num_tiles,
    require_float,
    require_rank,
    require_tiles,
    tile_bytes,
)


class Size(NamedTuple):
    """The numbers that say how large an attention is (see the legend)."""

    batch: int
    heads: int
    kv_heads: int
    positions: int
    width: int


def attention_size(q_BNSH: TensorSpec, k_BKLH: TensorSpec, v_BKLH: TensorSpec) -> Size:
    """The sizes of an attention whose inputs fit together.

    Raises:
        ShapeError, DTypeError, InvalidArgument: they do not, or are not floats in tiles.
    """
    require_rank(4, q=q_BNSH, k=k_BKLH, v=v_BKLH)
    batch, heads, positions, width = q_BNSH.shape
    size = Size(batch, heads, k_BKLH.shape[1], positions, width)
    check_heads(q_BNSH, k_BKLH, v_BKLH, heads, batch)
    return size


def check_heads(q: TensorSpec, k: TensorSpec, v: TensorSpec, heads: int, users: int | None) -> None:
    """Raise unless k and v [users,K,L,H] are alike and serve `heads` heads of q [...,H].

    `users` None: k and v are blocks of a paged cache, any number of them.
    """
    require_float(q=q, k=k, v=v)
    require_tiles(q=q, k=k, v=v)
    if k is not v:
        raise ShapeError(f"k {k} with v {v} (expected k and v alike)")
    rows, width = k.shape[0] if users is None else users, q.shape[3]
    if (k.shape[0], k.shape[3]) != (rows, width):
        raise ShapeError(f"q {q.shape} with k {k.shape} (expected k [{rows}, K, L, {width}])")
    if k.shape[1] < 1 or heads % k.shape[1]:
        raise ShapeError(
            f"{heads} query heads over {k.shape[1]} key-value heads (expected a multiple)"
        )


def causal_pairs(positions: int, start: int, window: int | None = None) -> int:
    """(query, key) pairs of one head: query i sees the last `window` of keys 0 .. start+i."""
    growing = positions if window is None else min(positions, max(0, window - start))
    return (
        growing * start
        + growing * (growing + 1) // 2
        + (positions - growing) * (0 if window is None else window)
    )


def _attention_rule(
    start: int,
    scale: float,
    compute: ComputeConfig | None,
    q_BNSH: TensorSpec,
    k_BKLH: TensorSpec,
    v_BKLH: TensorSpec,
) -> Plan:
    require_float(q=q_BNSH, k=k_BKLH, v=v_BKLH)
    if k_BKLH is not v_BKLH or k_BKLH.dtype.computed_as is not q_BNSH.dtype.computed_as:
        raise DTypeError(
            f"q {q_BNSH}, k {k_BKLH}, v {v_BKLH} (expected k and v alike, and the dtype of q or "
            "one that is computed alike)"
        )
    size = attention_size(q_BNSH, k_BKLH, v_BKLH)
    batch, positions, capacity = size.batch, size.positions, k_BKLH.shape[2]
    if start < 0 or start + positions > capacity:
        raise InvalidArgument(
            f"positions {start} .. {start + positions - 1} (expected within 0 .. {capacity - 1}, "
            "which k and v hold)"
        )
    pairs = batch * causal_pairs(positions, start)
    return attention_plan(compute, q_BNSH, size, k_BKLH, (start + positions,) * batch, pairs, 0)


def attention_plan(
    compute: ComputeConfig | None,
    q: TensorSpec,
    size: Size,
    cache: TensorSpec,
    lengths: tuple[int, ...],
    pairs: int,
    more: int,
    kv_positions: int = 0,
) -> Plan:
    """The plan of attention with an output as q.

    Args:
        lengths: the keys that each user's queries read, as many as users.
        pairs: (query, key) pairs of one head over all users that are not masked.
        more: bytes read beside q, keys and values (a mask, say).
        kv_positions: of decode, those that the user furthest on looks back at.
    """
    tiles_seen = sum(num_tiles(length) for length in lengths)
    # in tiles: q.k^T and p.v, over the part of the rectangle that is not masked
    square = size.heads * num_tiles(size.positions) * tiles_seen
    tile_pairs = -(-square * pairs // max(1, size.positions * sum(lengths)))
    work = Work(
        kind="matmul",
        flops=4 * size.heads * pairs * size.width,
        bytes_read=q.padded_bytes
        + 2 * size.kv_heads * tiles_seen * num_tiles(size.width) * tile_bytes(cache)
        + more,
        bytes_written=q.padded_bytes,
        num_tile_ops=2 * tile_pairs * num_tiles(size.width),
        num_parallel=max(
            len(lengths) * size.heads * num_tiles(size.positions), size.kv_heads * tiles_seen
        ),
        fidelity_phases=fidelity_phases(q) if compute is None else compute.fidelity.phases,
        kv_positions=kv_positions,
    )
    buffers = attention_buffers(
        num_tiles(size.positions),
        max((num_tiles(length) for length in lengths), default=0),
        num_tiles(size.width),
        tile_bytes(q),
        tile_bytes(cache),
    )
    return Plan((q,), work, buffers)


def _attention_touches(
    start: int,
    scale: float,
    compute: ComputeConfig | None,
    q_BNSH: TensorSpec,
    k_BKLH: TensorSpec,
    v_BKLH: TensorSpec,
) -> tuple[Touch, ...]:
    seen = Touch((slice(None), slice(None), slice(0, start + q_BNSH.shape[2])))
    return Touch(), seen, seen


ATTENTION = Op("attention", _attention_rule, attend, touches=_attention_touches)


def attention(
    chip: ChipState,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    start: int,
    scale: float | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """Attend causally: query i of q [B,N,S,H] sees keys 0 .. start+i of k, v [B,K,L,H].

    Grouped heads: query head n reads key-value head n * K // N. k and v may be caches longer than
    start + S: rows from there on are not read. Softmax, its sums and the probabilities are float32;
    the result is rounded once. Prefill is S > 1, decode S = 1: with the compiled core (bfloat16, H
    a multiple of 16) a row's bits do not depend on which. The numpy fallback sums in BLAS's order,
    so the two agree to float32 rounding before the last step.

    Args:
        start: positions already in the cache before these S.
        scale: what scores are multiplied by; None: 1 / sqrt(H).
        compute: its fidelity and `approx` count; None: operands whole, in the time of HiFi2
            (float32: HiFi4).
    Raises:
        ShapeError, DTypeError: q, k and v do not fit.
        InvalidArgument: the positions lie beyond the cache.
    """
    return chip.run(ATTENTION, (q, k, v), (start, scale_of(q, scale), compute))


def scale_of(q: Tensor, scale: float | None) -> float:
    """The scale given, or 1 / sqrt(H)."""
    if scale is None:
        return 1 / math.sqrt(max(1, q.spec.shape[-1] if q.spec.shape else 1))
    return scale
