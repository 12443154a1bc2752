"""Calls of attention that sees a window, or has sinks."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.tensor import Tensor

from ..call import Array, Call, Calls, Input
from .attention import computes, masked, off_by


def attend(
    start: int, window: int | None, q: Array, k: Array, v: Array, sinks: Array | None = None
) -> Array:
    """By the formula, in float64."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat(group, axis=1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    query, key = start + np.arange(q.shape[2])[:, None], np.arange(k.shape[2])
    seen = key <= query if window is None else (key <= query) & (key > query - window)
    powers = np.where(seen, np.exp(scores), 0)
    total = powers.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks / np.sqrt(q.shape[-1]))
    return np.asarray(powers / total @ v)


@st.composite
def windowed(draw: st.DrawFn) -> Call:
    """Some new positions over a cache that may be longer."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    batch, kv_heads, group = (draw(st.integers(1, 2)) for _ in range(3))
    positions, start = draw(st.integers(1, 9)), draw(st.integers(0, 9))
    capacity, width = (
        start + positions + draw(st.integers(0, 3)),
        draw(st.sampled_from([4, 16, 20])),
    )
    window, compute = draw(st.none() | st.integers(1, 12)), draw(computes)
    dtype = draw(st.sampled_from(["float32", "bfloat16"]))
    heads = kv_heads * group
    shapes = [(batch, heads, positions, width)] + 2 * [(batch, kv_heads, capacity, width)]
    if draw(st.booleans()):
        shapes.append((1, heads, 1, 1))

    def run(chip: Chip, t: Sequence[Tensor]) -> Tensor:
        sinks = t[3] if len(t) > 3 else None
        return chip.windowed_attention(t[0], t[1], t[2], start, None, window, sinks, compute)

    return Call(
        tuple(Input(rng.standard_normal(shape), dtype) for shape in shapes),
        run,
        lambda q, k, v, *sinks: attend(start, window, *masked(compute, q, k, v), *sinks),
        ulps=1,
        absolute=off_by(compute),
    )


CALLS: Calls = {"windowed_attention": windowed()}
