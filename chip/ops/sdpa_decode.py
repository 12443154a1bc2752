"""Scaled dot-product attention of one new position of each user (decode), as ttnn.transformer.

Legend: B users, N query heads, K key-value heads, L positions the cache can hold, H head dim.
"""

from collections.abc import Sequence

import numpy as np

from ..compute_config import ComputeConfig
from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .attention import Size, attention_plan, check_heads, scale_of
from .attention_values import attend, mix
from .optional import Roles, run_given
from .paging import check_page_table, check_positions, gather, positions_of
from .sdpa import check_sink, sink_of
from .shared import narrow, require_float, require_integers, require_rank, wide
from .softmax import check_mask

Positions = tuple[int, ...] | None


def _rule(
    listed: Positions,
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    roles: Roles,
    *specs: TensorSpec,
) -> Plan:
    given = dict(zip(roles, specs, strict=True))
    q, k, v = given["q"], given["k"], given["v"]
    require_rank(4, q=q, k=k, v=v)
    one, users, heads, width = q.shape
    check_heads(q, k, v, heads, None if "page_table" in given else users)
    if one != 1:
        raise ShapeError(f"q {q.shape} (expected [1, B, N, H]: one new position a user)")
    capacity = k.shape[2]
    if "page_table" in given:
        capacity = check_page_table(given["page_table"], users, k)
    if window is not None and window < 1:
        raise InvalidArgument(f"sliding_window_size (={window}) must be >= 1")
    if "cur_pos" in given:
        require_integers(cur_pos=given["cur_pos"])
        if given["cur_pos"].shape != (users,):
            raise ShapeError(f"cur_pos {given['cur_pos'].shape} (expected {(users,)})")
    elif listed is not None:
        check_positions(listed, users, capacity)
    if "attn_mask" in given:
        require_float(attn_mask=given["attn_mask"])
        check_mask(given["attn_mask"].shape, (users, 1, heads, capacity))
    if "attention_sink" in given:
        check_sink(given["attention_sink"], heads)
    positions = (capacity - 1,) * users if listed is None else listed
    lengths = tuple(min(position + 1, window or position + 1) for position in positions)
    # the query heads of a key-value head are the rows of one tile, as are positions in prefill
    kv_heads, group = k.shape[1], heads // k.shape[1]
    size = Size(users, kv_heads, kv_heads, group, width)
    more = sum(spec.padded_bytes for spec in specs[3:])
    pairs = group * sum(lengths)
    return attention_plan(compute, q, size, k, lengths, pairs, more, max(lengths, default=0))


def _values(
    listed: Positions,
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
    page_table, mask = given.get("page_table"), given.get("attn_mask")
    users, heads, width = q.shape[1:]
    capacity = k.shape[2] * (1 if page_table is None else page_table.shape[1])
    sink = sink_of(given["attention_sink"], heads) if "attention_sink" in given else None
    bias = None
    if mask is not None:
        bias = np.broadcast_to(wide(mask), (users, 1, heads, capacity))
    out = np.zeros(q.shape, q.dtype)  # a user without a position gets zeros
    for user, position in enumerate(positions_of(listed, given.get("cur_pos"), users, capacity)):
        length = position + 1
        first = max(0, length - window) if window else 0
        if not length:
            continue
        if page_table is None:
            keys, values = k[user], v[user]
        else:
            keys, values = (gather(cache, page_table, user, length) for cache in (k, v))
        if first:
            keys, values = (np.ascontiguousarray(x[:, first:length]) for x in (keys, values))
        seen = length - first
        rows = q[0, user, :, None]  # [N,1,H]
        if bias is not None or sink is not None or q.dtype != k.dtype:
            part = None if bias is None else bias[user, 0, :, None, first:length]
            held = keys[:, :seen], values[:, :seen]
            mixed = narrow(mix(scale, compute, rows, *held, part, sink), q)
        else:
            mixed = attend(seen - 1, scale, compute, rows[None], keys[None], values[None])
        out[0, user] = mixed.reshape(heads, width)
    return out


SDPA_DECODE = Op("scaled_dot_product_attention_decode", _rule, _values)


def _plain_rule(
    listed: tuple[int, ...],
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    *specs: TensorSpec,
) -> Plan:
    return _rule(listed, scale, window, compute, ("q", "k", "v"), *specs)


def _plain_values(
    listed: tuple[int, ...],
    scale: float,
    window: int | None,
    compute: ComputeConfig | None,
    q: Array,
    k: Array,
    v: Array,
) -> Array:
    """The same, all users at once where they stand at one position and see all before it."""
    first, users = listed[0], len(listed)
    is_whole = first >= 0 and (window is None or first < window) and q.dtype == k.dtype
    if is_whole and listed.count(first) == users:
        rows = q.reshape(users, q.shape[2], 1, q.shape[3])
        return attend(first, scale, compute, rows, k, v).reshape(q.shape)
    return _values(listed, scale, window, compute, ("q", "k", "v"), q, k, v)


PLAIN_SDPA_DECODE = Op(  # what a decode step asks for
    "scaled_dot_product_attention_decode", _plain_rule, _plain_values
)
PAGED_SDPA_DECODE = Op("paged_scaled_dot_product_attention_decode", _rule, _values)


def scaled_dot_product_attention_decode(
    chip: ChipState,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cur_pos: Sequence[int] | Tensor | None = None,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
    sliding_window_size: int | None = None,
    attention_sink: Tensor | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """Attend from each user's newest position to its cache: q [1,B,N,H], k and v [B,K,L,H].

    User b sees positions 0 .. cur_pos[b]. Grouped heads, softmax and rounding as in `attention`: of
    one dtype, with neither mask nor sink, the same bits.

    Args:
        cur_pos: one for each user, or an integer tensor [B] of them; None: the cache is full. -1
            leaves a user out: its rows are zeros. What is in a tensor does not enter the time
            planned: that is of a full cache.
        attn_mask: added to the scaled scores: [B,1,N,L], of which any may be 1.
        scale, sliding_window_size, attention_sink, compute: see `scaled_dot_product_attention`; the
            sink may also be [N, any], of which the first column counts.
    Raises:
        ShapeError, DTypeError: the inputs do not fit together.
        InvalidArgument: a position lies beyond the cache; a window < 1; inputs not in tiles.
    """
    listed, tensor = _split(cur_pos)
    params = (listed, scale_of(q, scale), sliding_window_size, compute)
    if listed and attn_mask is None and attention_sink is None:
        return chip.run(PLAIN_SDPA_DECODE, (q, k, v), params)
    inputs = {"q": q, "k": k, "v": v, "attn_mask": attn_mask, "attention_sink": attention_sink}
    return run_given(chip, SDPA_DECODE, params, **inputs, cur_pos=tensor)


def paged_scaled_dot_product_attention_decode(
    chip: ChipState,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    page_table: Tensor,
    cur_pos: Sequence[int] | Tensor | None = None,
    *,
    attn_mask: Tensor | None = None,
    scale: float | None = None,
    sliding_window_size: int | None = None,
    attention_sink: Tensor | None = None,
    compute: ComputeConfig | None = None,
) -> Tensor:
    """`scaled_dot_product_attention_decode` over a paged cache: k and v [blocks,K,block,H].

    Args:
        page_table: [B, pages], integers: the block of each page of each user.
    Raises:
        InvalidArgument: a page that is read is no block of the cache; and as without pages.
    """
    inputs = {"q": q, "k": k, "v": v, "page_table": page_table}
    listed, tensor = _split(cur_pos)
    params = (listed, scale_of(q, scale), sliding_window_size, compute)
    optional = {"attn_mask": attn_mask, "attention_sink": attention_sink, "cur_pos": tensor}
    return run_given(chip, PAGED_SDPA_DECODE, params, **inputs, **optional)


def _split(cur_pos: Sequence[int] | Tensor | None) -> tuple[Positions, Tensor | None]:
    if cur_pos is None or isinstance(cur_pos, Tensor):
        return None, cur_pos
    return tuple(cur_pos), None
