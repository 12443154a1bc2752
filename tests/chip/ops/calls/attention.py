"""Calls of all forms of attention, against softmax(q . k^T * scale + bias) . v in float64."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import ComputeConfig, Fidelity
from meshtwin.chip.tensor import Layout, Tensor

from ...bits import ACTIVATION_BITS, TF32_ACTIVATION_BITS, TF32_WEIGHT_BITS, WEIGHT_BITS, kept
from ..call import Array, Call, Calls, Input
from ..draw import normal, seeds
from ..near import near, plain_floats

ABSOLUTE = 2e-5  # products of float32 that cancel


def attended(
    q: Array, k: Array, v: Array, scale: float | None, bias: Array, sink: Array | None = None
) -> Array:
    """q [B,N,S,H], k and v [B,K,L,H], bias repeating to [B,N,S,L], a sink [N] of each head."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat(group, axis=1) for x in (k, v))
    factor = q.shape[-1] ** -0.5 if scale is None else scale
    scores = q @ k.swapaxes(-1, -2) * factor + bias
    if sink is not None:
        column = np.broadcast_to((sink * factor)[:, None, None], (*scores.shape[:-1], 1))
        scores = np.concatenate((scores, column), axis=-1)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    powers /= powers.sum(axis=-1, keepdims=True)
    return np.asarray(powers[..., : k.shape[2]] @ v)


def hidden(
    positions: int, length: int, start: int = 0, window: int | None = None, causal: bool = True
) -> Array:
    """-inf where a query does not see a key: [S,L]."""
    query, key = start + np.arange(positions)[:, None], np.arange(length)
    sees = np.ones((positions, length), bool)
    if causal:
        sees &= key <= query
    if window is not None:
        reach = window if causal else window // 2 + 1
        sees &= abs(query - key) < reach
    return np.where(sees, 0.0, -np.inf)


@dataclass(frozen=True)
class Heads:
    """How many of what: see the legend of the ops."""

    batch: int
    heads: int
    kv_heads: int
    width: int


@st.composite
def head_counts(draw: st.DrawFn) -> Heads:
    """A few heads, of widths that the compiled loops take or do not."""
    kv_heads, group = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    width = draw(st.sampled_from([6, 16, 64]))
    return Heads(draw(st.integers(1, 3)), kv_heads * group, kv_heads, width)


scales = st.sampled_from([None, 0.5])
computes = st.none() | st.builds(
    ComputeConfig, fidelity=st.sampled_from(Fidelity), approx=st.booleans()
)


def masked(
    compute: ComputeConfig | None, q: Array, k: Array, v: Array
) -> tuple[Array, Array, Array]:
    """q, k and v with the bits that the fidelity multiplies."""
    if compute is None or compute.fidelity is Fidelity.EXACT:
        return q, k, v
    cuts, lofi = compute.fidelity.phases <= 2, compute.fidelity is Fidelity.LOFI
    weight_bits = WEIGHT_BITS if lofi else TF32_WEIGHT_BITS
    q = kept(q, ACTIVATION_BITS if cuts else TF32_ACTIVATION_BITS)
    return q, kept(k, weight_bits), kept(v, weight_bits)


def off_by(compute: ComputeConfig | None) -> float:
    """How far a result may be off beside its last bits: by products that cancel, or by `approx`."""
    return 0.4 if compute is not None and compute.approx else ABSOLUTE


@st.composite
def attention(draw: st.DrawFn) -> Call:
    """New positions after some in the cache, with room to spare."""
    size, dtype, scale = draw(head_counts()), draw(plain_floats), draw(scales)
    compute = draw(computes)
    positions, start, spare = (draw(st.integers(least, 9)) for least in (1, 0, 0))
    length = start + positions
    cache = (size.batch, size.kv_heads, length + spare, size.width)
    shapes = [(size.batch, size.heads, positions, size.width), cache, cache]
    return Call(
        tuple(Input(normal(shape, draw(seeds)), dtype) for shape in shapes),
        lambda chip, t: chip.attention(t[0], t[1], t[2], start, scale, compute),
        lambda q, k, v: attended(
            *masked(compute, q, k[:, :, :length], v[:, :, :length]),
            scale,
            hidden(positions, length, start),
        ),
        ulps=near(dtype),
        absolute=off_by(compute),
    )


@st.composite
def prefill(draw: st.DrawFn) -> Call:
    """Causal or not, with a window, a mask or a sink."""
    size, scale, compute = draw(head_counts()), draw(scales), draw(computes)
    positions, causal = draw(st.integers(1, 9)), draw(st.booleans())
    length = positions if causal else draw(st.integers(1, 12))
    has_mask = not causal and draw(st.booleans())
    least = 1 if causal else 2 * 12  # or a query might see no key at all
    window = None if has_mask else draw(st.none() | st.integers(least, 30))
    dtypes = [draw(plain_floats), draw(plain_floats)]
    cache = (size.batch, size.kv_heads, length, size.width)
    inputs = [
        Input(normal((size.batch, size.heads, positions, size.width), draw(seeds)), dtypes[0])
    ]
    inputs += [Input(normal(cache, draw(seeds)), dtypes[1]) for _ in range(2)]
    roles = []
    if has_mask:
        roles.append("attn_mask")
        mask = [draw(st.sampled_from([1, n])) for n in (size.batch, size.heads)]
        inputs.append(Input(normal((*mask, positions, length), draw(seeds)), draw(plain_floats)))
    if draw(st.booleans()):
        roles.append("attention_sink")
        inputs.append(Input(normal((1, size.heads, 1, 1), draw(seeds), 4), draw(plain_floats)))

    def run(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
        q, k, v = tensors[:3]
        others: dict[str, Any] = dict(zip(roles, tensors[3:], strict=True))
        return chip.scaled_dot_product_attention(
            q,
            k,
            v,
            is_causal=causal,
            scale=scale,
            sliding_window_size=window,
            compute=compute,
            **others,
        )

    def expected(q: Array, k: Array, v: Array, *others: Array) -> Array:
        given = dict(zip(roles, others, strict=True))
        bias = given.get("attn_mask", hidden(positions, length, 0, window, causal))
        sink = given.get("attention_sink")
        column = None if sink is None else sink[0, :, 0, 0]
        return attended(*masked(compute, q, k, v), scale, bias, column)

    return Call(tuple(inputs), run, expected, ulps=near(dtypes[0]), absolute=off_by(compute))


def pages_of(table: Array, cache: Array) -> Array:
    """A paged cache as one without pages: [B, K, pages * block, H]."""
    pages = cache[table].swapaxes(1, 2)
    return pages.reshape(*pages.shape[:2], -1, pages.shape[-1])


@st.composite
def tables(draw: st.DrawFn, users: int, pages: int) -> Input:
    """A page table, no block used twice."""
    blocks = users * pages + 2
    order = np.random.default_rng(draw(seeds)).permutation(blocks)[: users * pages]
    return Input(order.reshape(users, pages), "int32", Layout.ROW_MAJOR)


@st.composite
def chunked(draw: st.DrawFn) -> Call:
    """A chunk of a prompt after what its pages hold already."""
    size, scale, dtypes = draw(head_counts()), draw(scales), [draw(plain_floats) for _ in "qk"]
    compute = draw(computes)
    block, pages = draw(st.sampled_from([4, 32])), draw(st.integers(1, 3))
    positions = draw(st.integers(1, block * pages))
    start = draw(st.integers(0, block * pages - positions))
    blocks = size.batch * pages + 2
    shape = (blocks, size.kv_heads, block, size.width)
    inputs = [
        Input(normal((size.batch, size.heads, positions, size.width), draw(seeds)), dtypes[0])
    ]
    inputs += [Input(normal(shape, draw(seeds)), dtypes[1]) for _ in range(2)]
    inputs.append(draw(tables(size.batch, pages)))

    def expected(q: Array, k: Array, v: Array, table: Array) -> Array:
        bias = hidden(positions, block * pages, start)
        q, k, v = masked(compute, q, pages_of(table, k), pages_of(table, v))
        return attended(q, k, v, scale, bias)

    return Call(
        tuple(inputs),
        lambda chip, t: chip.chunked_scaled_dot_product_attention(
            t[0], t[1], t[2], t[3], start, scale=scale, compute=compute
        ),
        expected,
        ulps=near(dtypes[0]),
        absolute=off_by(compute),
    )


@st.composite
def decode(draw: st.DrawFn, name: str) -> Call:
    """Users at different positions, one perhaps at none, with pages or without."""
    size, scale, compute = draw(head_counts()), draw(scales), draw(computes)
    block, pages = draw(st.sampled_from([4, 32])), draw(st.integers(1, 3))
    paged, length = name.startswith("paged"), block * pages
    at = draw(
        st.none() | st.lists(st.integers(-1, length - 1), min_size=size.batch, max_size=size.batch)
    )
    as_tensor, window = draw(st.booleans()), draw(st.none() | st.integers(1, length))
    dtypes = [draw(plain_floats), draw(plain_floats)]
    rows = size.batch * pages + 2 if paged else size.batch
    cache = (rows, size.kv_heads, block if paged else length, size.width)
    inputs = [Input(normal((1, size.batch, size.heads, size.width), draw(seeds)), dtypes[0])]
    inputs += [Input(normal(cache, draw(seeds)), dtypes[1]) for _ in range(2)]
    roles = ["page_table"] if paged else []
    inputs += [draw(tables(size.batch, pages))] if paged else []
    if at is not None and as_tensor:
        roles.append("cur_pos")
        inputs.append(Input(np.array(at), "int32", Layout.ROW_MAJOR))
    if draw(st.booleans()):
        roles.append("attn_mask")
        mask = [draw(st.sampled_from([1, n])) for n in (size.batch, 1, size.heads)]
        inputs.append(Input(normal((*mask, length), draw(seeds)), draw(plain_floats)))
    if draw(st.booleans()):
        roles.append("attention_sink")
        inputs.append(Input(normal((size.heads, 32), draw(seeds), 4), draw(plain_floats)))

    def run(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
        others = dict(zip(roles, tensors[3:], strict=True))
        if not as_tensor:
            others["cur_pos"] = at  # type: ignore[assignment]
        out: Tensor = getattr(chip, name)(
            *tensors[:3], **others, scale=scale, sliding_window_size=window, compute=compute
        )
        return out

    def expected(q: Array, k: Array, v: Array, *others: Array) -> Array:
        given = dict(zip(roles, others, strict=True))
        if paged:
            k, v = (pages_of(given["page_table"], cache) for cache in (k, v))
        q, k, v = masked(compute, q, k, v)
        sink = given["attention_sink"][:, 0] if "attention_sink" in given else None
        mask = given.get("attn_mask", np.zeros((1, 1, 1, 1)))
        mask = np.broadcast_to(mask, (size.batch, 1, size.heads, length))
        out = np.zeros(q.shape)
        for user, position in enumerate([length - 1] * size.batch if at is None else at):
            if position >= 0:
                bias = hidden(1, length, position, window) + mask[user, 0, :, None]
                row, keys, values = (x[user : user + 1] for x in (q.transpose(1, 2, 0, 3), k, v))
                out[0, user] = attended(row, keys, values, scale, bias, sink)[0, :, 0]
        return out

    return Call(tuple(inputs), run, expected, ulps=near(dtypes[0]), absolute=off_by(compute))


PAGED = "paged_scaled_dot_product_attention_decode"
CALLS: Calls = {
    "attention": attention(),
    "scaled_dot_product_attention": prefill(),
    "chunked_scaled_dot_product_attention": chunked(),
    "scaled_dot_product_attention_decode": decode("scaled_dot_product_attention_decode"),
    PAGED: decode(PAGED),
}
