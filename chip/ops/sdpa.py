"""Scaled dot-product attention of many positions (prefill), as ttnn.transformer has it.

Legend: B batch, N query heads, K key-value heads, S query positions, L key positions, H head dim.
"""

import numpy as np

from ..compute_config import ComputeConfig
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Floats, Tensor, TensorSpec
from .attention import (
    Size,
    attention_plan,
    attention_size,
    causal_pairs,
    check_heads,
    scale_of,
)
from .attention_values import attend, hidden, mix
from .optional import Roles, run_given
from .paging import check_page_table, gather
from .shared import narrow, require_float, require_rank, wide
from .softmax import check_mask


def check_sink(sink: TensorSpec, heads: int) -> None:
    """Raise ShapeError unless a sink holds a number for each head: [1,N,1,1] or [N, any]."""
    require_float(attention_sink=sink)
    if sink.shape != (1, heads, 1, 1) and (len(sink.shape) != 2 or sink.shape[0] != heads):
        raise ShapeError(
            f"attention_sink {sink.shape} (expected {(1, heads, 1, 1)}, or {heads} rows of which "
            "the first column counts)"
        )


def sink_of(sink: Array, heads: int) -> Floats:
    """The number of each head."""
    return wide(sink).reshape(heads, -1)[:, 0]


def _rule(
    is_causal: bool,
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    roles: Roles,
    *specs: TensorSpec,
) -> Plan:
    given = dict(zip(roles, specs, strict=True))
    q, k, v, mask = given["q"], given["k"], given["v"], given.get("attn_mask")
    size = attention_size(q, k, v)
    positions, length = size.positions, k.shape[2]
    if mask is not None and (is_causal or window is not None):
        raise InvalidArgument(
            "attn_mask beside is_causal or sliding_window_size (expected one of them: a mask says "
            "all, with is_causal=False)"
        )
    if is_causal and positions != length:
        raise ShapeError(
            f"q {q.shape} with k {k.shape}: causal attention takes as many queries as keys "
            f"(expected k [{size.batch}, K, {positions}, {size.width}])"
        )
    if window is not None and window < 1:
        raise InvalidArgument(f"sliding_window_size (={window}) must be >= 1")
    if mask is not None:
        require_float(attn_mask=mask)
        require_rank(4, attn_mask=mask)
        check_mask(mask.shape, (size.batch, size.heads, positions, length))
    if "attention_sink" in given:
        check_sink(given["attention_sink"], size.heads)
    pairs = positions * length
    if is_causal:
        pairs = causal_pairs(positions, 0, window)
    elif window is not None:
        pairs = _pairs_around(positions, length, window)
    more = sum(spec.padded_bytes for spec in specs[3:])
    return attention_plan(compute, q, size, k, (length,) * size.batch, size.batch * pairs, more)


def _pairs_around(positions: int, length: int, window: int) -> int:
    """(query, key) pairs of one head with half a window to either side."""
    query, half = np.arange(positions), window // 2
    seen = np.minimum(length - 1, query + half) - np.maximum(0, query - half) + 1
    return int(np.maximum(seen, 0).sum())


def _values(
    is_causal: bool,
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    roles: Roles,
    q: Array,
    k: Array,
    v: Array,
    *others: Array,
) -> Array:
    given = dict(zip(roles[3:], others, strict=True))
    if is_causal and window is None and not given and q.dtype == k.dtype:
        return attend(0, scale, compute, q, k, v)
    batch, heads, positions, _ = q.shape
    sink = sink_of(given["attention_sink"], heads) if "attention_sink" in given else None
    if "attn_mask" in given:
        bias = wide(given["attn_mask"])
    else:
        bias = hidden(positions, k.shape[2], 0, is_causal, window)[None, None]
    bias = np.broadcast_to(bias, (batch, *bias.shape[1:]))
    mixed = [mix(scale, compute, *each, sink) for each in zip(q, k, v, bias, strict=True)]
    return narrow(np.stack(mixed) if mixed else np.zeros(q.shape, np.float32), q)


SDPA = Op("scaled_dot_product_attention", _rule, _values)


def scaled_dot_product_attention(
    chip: ChipState,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = True,
    scale: float | None = None,
    sliding_window_size: int | None = None,
    attention_sink: Tensor | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """Attend: softmax(q . k^T * scale + mask) . v, of q [B,N,S,H] and k, v [B,K,L,H].

    Grouped heads: query head n reads key-value head n * K // N. Softmax and its sums are float32;
    the result is rounded once, to q's dtype.

    Args:
        attn_mask: added to the scaled scores: [B,N,S,L], of which B and N (and any) may be 1; with
            is_causal=False only.
        is_causal: query i sees keys 0 .. i; S must be L.
        scale: what scores are multiplied by; None: 1 / sqrt(H).
        sliding_window_size: a query sees only the last so many keys up to its own; if not causal,
            half as many (rounded down) to either side.
        attention_sink: a score of each head, [1,N,1,1], that takes part in the softmax and adds
            nothing; it is multiplied by the scale as the others are.
        compute: as of `attention`.
    Raises:
        ShapeError, DTypeError: the inputs do not fit together.
        InvalidArgument: a mask beside is_causal or a window; a window < 1; inputs not in tiles.
    """
    params = (is_causal, scale_of(q, scale), sliding_window_size, compute)
    inputs = {"q": q, "k": k, "v": v, "attn_mask": attn_mask, "attention_sink": attention_sink}
    return run_given(chip, SDPA, params, **inputs)


def _chunked_rule(
    start: int,
    scale: float,
    compute: ComputeConfig | None,
    q: TensorSpec,
    k: TensorSpec,
    v: TensorSpec,
    page_table: TensorSpec,
) -> Plan:
    require_rank(4, q=q, k=k, v=v)
    batch, heads, positions, width = q.shape
    check_heads(q, k, v, heads, None)
    capacity = check_page_table(page_table, batch, k)
    length = start + positions
    if start < 0 or length > capacity:
        raise InvalidArgument(
            f"positions {start} .. {length - 1} (expected within 0 .. {capacity - 1}, which a "
            "user's pages hold)"
        )
    size = Size(batch, heads, k.shape[1], positions, width)
    pairs = batch * causal_pairs(positions, start)
    more = page_table.padded_bytes
    return attention_plan(compute, q, size, k, (length,) * batch, pairs, more)


def _chunked_values(
    start: int,
    scale: float,
    compute: ComputeConfig | None,
    q: Array,
    k: Array,
    v: Array,
    page_table: Array,
) -> Array:
    length = start + q.shape[2]
    bias = None if q.dtype == k.dtype else hidden(q.shape[2], length, start)
    out = np.empty_like(q)
    for user in range(q.shape[0]):
        keys, values = (gather(cache, page_table, user, length) for cache in (k, v))
        if bias is None:
            out[user] = attend(start, scale, compute, q[user][None], keys[None], values[None])[0]
        else:
            out[user] = narrow(mix(scale, compute, q[user], keys, values, bias), q)
    return out


CHUNKED_SDPA = Op("chunked_scaled_dot_product_attention", _chunked_rule, _chunked_values)


def chunked_scaled_dot_product_attention(
    chip: ChipState,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    page_table: Tensor,
    chunk_start_idx: int,
    *,
    scale: float | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """Attend causally from a chunk of a prompt to all before it, in a paged cache.

    Query i of q [B,N,S,H] sees positions 0 .. chunk_start_idx+i of its user in k, v
    [blocks,K,block,H], by page table [B, pages]. In q's dtype as `attention`: the same bits;
    `compute` as there.

    Raises:
        ShapeError, DTypeError: the inputs do not fit together.
        InvalidArgument: the positions lie beyond the pages; a page is no block of the cache.
    """
    params = (chunk_start_idx, scale_of(q, scale), compute)
    return chip.run(CHUNKED_SDPA, (q, k, v, page_table), params)
