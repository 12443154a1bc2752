"""Attention over a key-value cache.

Legend: B batch, N query heads, K key-value heads, S new positions, L positions the cache can hold,
H head dim.
"""

import math

import numpy as np

from .. import kernels
from ..cost import Work
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..kernels import plain
from ..memory.circular import attention_buffers
from ..memory.written import NOTHING, Touch
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import fidelity_phases, num_tiles, require_float, require_rank, tile_bytes


def _attention_rule(
    start: int, scale: float, q_BNSH: TensorSpec, k_BKLH: TensorSpec, v_BKLH: TensorSpec
) -> Plan:
    require_float(q=q_BNSH, k=k_BKLH, v=v_BKLH)
    require_rank(4, q=q_BNSH, k=k_BKLH, v=v_BKLH)
    batch, heads, positions, width = q_BNSH.shape
    kv_heads, capacity = k_BKLH.shape[1:3]
    if k_BKLH is not v_BKLH or k_BKLH.dtype.computed_as is not q_BNSH.dtype.computed_as:
        raise DTypeError(
            f"q {q_BNSH}, k {k_BKLH}, v {v_BKLH} (expected k and v alike, and the dtype of q or "
            "one that is computed alike)"
        )
    if (k_BKLH.shape[0], k_BKLH.shape[3]) != (batch, width):
        raise ShapeError(
            f"q {q_BNSH.shape} with k {k_BKLH.shape} (expected k [{batch}, K, L, {width}])"
        )
    if kv_heads < 1 or heads % kv_heads:
        raise ShapeError(
            f"{heads} query heads over {kv_heads} key-value heads (expected a multiple)"
        )
    if start < 0 or start + positions > capacity:
        raise InvalidArgument(
            f"positions {start} .. {start + positions - 1} (expected within 0 .. {capacity - 1}, "
            "which k and v hold)"
        )
    return _attention_plan(start, q_BNSH, k_BKLH)


def _attention_plan(start: int, q_BNSH: TensorSpec, k_BKLH: TensorSpec) -> Plan:
    batch, heads, positions, width = q_BNSH.shape
    kv_heads, seen = k_BKLH.shape[1], start + positions
    pairs = (
        batch * heads * (positions * start + positions * (positions + 1) // 2)
    )  # (query, key) pairs not masked
    cache_bytes = (
        2 * batch * kv_heads * num_tiles(seen) * num_tiles(width) * tile_bytes(k_BKLH)
    )
    seen_tiles = num_tiles(seen)
    # in tiles: q.k^T and p.v over the part of the square below the diagonal
    tile_pairs = -(
        -batch
        * heads
        * num_tiles(positions)
        * seen_tiles
        * pairs
        // max(1, batch * heads * positions * seen)
    )
    work = Work(
        kind="matmul",
        flops=4 * pairs * width,
        bytes_read=q_BNSH.padded_bytes + cache_bytes,
        bytes_written=q_BNSH.padded_bytes,
        num_tile_ops=2 * tile_pairs * num_tiles(width),
        num_parallel=batch * max(heads * num_tiles(positions), kv_heads * seen_tiles),
        fidelity_phases=fidelity_phases(q_BNSH),
    )
    buffers = attention_buffers(
        num_tiles(positions),
        seen_tiles,
        num_tiles(width),
        tile_bytes(q_BNSH),
        tile_bytes(k_BKLH),
    )
    return Plan((q_BNSH,), work, buffers)


def _attention_values(
    start: int, scale: float, q_BNSH: Array, k_BKLH: Array, v_BKLH: Array
) -> Array:
    batch, heads, positions, width = q_BNSH.shape
    shape = (batch, heads, k_BKLH.shape[1], positions, k_BKLH.shape[2], width, start)
    out = np.empty(q_BNSH.shape, q_BNSH.dtype)
    if q_BNSH.itemsize == 2:
        kernels.attention(q_BNSH, k_BKLH, v_BKLH, out, shape, scale)
    else:
        plain.attention(q_BNSH, k_BKLH, v_BKLH, out, shape, scale)
    return out


def _attention_touches(
    start: int, scale: float, q_BNSH: TensorSpec, k_BKLH: TensorSpec, v_BKLH: TensorSpec
) -> tuple[Touch, ...]:
    seen = Touch((slice(None), slice(None), slice(0, start + q_BNSH.shape[2])))
    return Touch(), seen, seen


ATTENTION = Op("attention", _attention_rule, _attention_values, touches=_attention_touches)


def attention(
    chip: ChipState, q: Tensor, k: Tensor, v: Tensor, start: int, scale: float | None = None
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
    Raises:
        ShapeError, DTypeError: q, k and v do not fit.
        InvalidArgument: the positions lie beyond the cache.
    """
    if scale is None:
        scale = 1 / math.sqrt(max(1, q.spec.shape[-1] if q.spec.shape else 1))
    return chip.run(ATTENTION, (q, k, v), (start, scale))


def _update_rule(start: int, cache_BKLH: TensorSpec, x_BKSH: TensorSpec) -> Plan:
    require_rank(4, cache=cache_BKLH, x=x_BKSH)
    batch, kv_heads, capacity, width = cache_BKLH.shape
    if x_BKSH.shape[:2] != (batch, kv_heads) or x_BKSH.shape[3] != width:
        raise ShapeError(
            f"x {x_BKSH.shape} into cache {cache_BKLH.shape} "
            f"(expected x [{batch}, {kv_heads}, S, {width}])"
        )
    if x_BKSH.dtype.computed_as is not cache_BKLH.dtype.computed_as:
        raise DTypeError(f"x is {x_BKSH.dtype} (expected {cache_BKLH.dtype}, as the cache)")
    positions = x_BKSH.shape[2]
    if start < 0 or start + positions > capacity:
        raise InvalidArgument(
            f"positions {start} .. {start + positions - 1} (expected within 0 .. {capacity - 1}, "
            "which the cache holds)"
        )
    work = Work(
        "move", 0, x_BKSH.padded_bytes, x_BKSH.padded_bytes, x_BKSH.num_tiles, x_BKSH.num_tiles
    )
    return Plan((), work)


def _update_values(start: int, cache_BKLH: Array, x_BKSH: Array) -> None:
    cache_BKLH[:, :, start : start + x_BKSH.shape[2]] = x_BKSH


def _update_touches(start: int, cache_BKLH: TensorSpec, x_BKSH: TensorSpec) -> tuple[Touch, ...]:
    rows = slice(start, start + x_BKSH.shape[2])
    return Touch(NOTHING, (slice(None), slice(None), rows)), Touch()


UPDATE_CACHE = Op("update_cache", _update_rule, _update_values, touches=_update_touches)


def update_cache(chip: ChipState, cache: Tensor, x: Tensor, start: int) -> None:
    """Write x [B,K,S,H] into positions start .. start+S-1 of a cache [B,K,L,H], in place.

    Raises:
        ShapeError, DTypeError: x does not fit the cache.
        InvalidArgument: the positions lie beyond it.
    """
    chip.run_many(UPDATE_CACHE, (cache, x), (start,))
