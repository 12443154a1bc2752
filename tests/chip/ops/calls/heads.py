"""Calls of ops between rows of a projection and heads."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.tensor import Tensor

from ..call import Array, Call, Calls, Input
from ..draw import floats, normal, seeds

Three = tuple[Array, Array, Array]
sizes = st.integers(1, 4)
widths = st.integers(1, 40)


def cut(x: Array, heads: int, kv_heads: int) -> Three:
    """[B,S,(N+2K)H] as heads."""
    batch, positions = x.shape[0], x.shape[-2]
    split = x.reshape(batch, positions, heads + 2 * kv_heads, -1).swapaxes(1, 2)
    return split[:, :heads], split[:, heads : heads + kv_heads], split[:, heads + kv_heads :]


@st.composite
def create(draw: st.DrawFn) -> Call:
    """From [B,S,columns] or [B,1,S,columns]."""
    batch, positions, heads, kv_heads = (draw(sizes) for _ in range(4))
    one = draw(st.sampled_from([(), (1,)]))
    shape = (batch, *one, positions, (heads + 2 * kv_heads) * draw(widths))
    return Call(
        (Input(normal(shape, draw(seeds)), draw(floats)),),
        lambda chip, t: chip.create_heads(t[0], heads, kv_heads),
        lambda x: cut(x, heads, kv_heads),
    )


@st.composite
def create_decode(draw: st.DrawFn) -> Call:
    """From [1,1,B,columns]."""
    users, heads, kv_heads = (draw(sizes) for _ in range(3))
    shape = (1, 1, users, (heads + 2 * kv_heads) * draw(widths))

    def expected(x: Array) -> tuple[Array, ...]:
        return tuple(part.swapaxes(1, 2) for part in cut(x[0], heads, kv_heads))

    return Call(
        (Input(normal(shape, draw(seeds)), draw(floats)),),
        lambda chip, t: chip.create_heads_decode(t[0], heads, kv_heads),
        expected,
    )


@st.composite
def split(draw: st.DrawFn) -> Call:
    """From one tensor or from two, with the keys turned or not."""
    batch, positions, heads, kv_heads, width = (draw(sizes) for _ in range(5))
    together, turned, dtype = draw(st.booleans()), draw(st.booleans()), draw(floats)
    columns = [(heads + 2 * kv_heads) * width]
    if not together:
        columns = [heads * width, 2 * kv_heads * width]
    inputs = tuple(
        Input(normal((batch, positions, count), draw(seeds)), dtype) for count in columns
    )

    def run(chip: Chip, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        given = kv_heads if kv_heads != heads else None
        return chip.split_query_key_value(
            *tensors, num_heads=heads, num_kv_heads=given, transpose_key=turned
        )

    def expected(*parts: Array) -> Three:
        q, k, v = cut(np.concatenate(parts, axis=-1), heads, kv_heads)
        return q, k.swapaxes(2, 3) if turned else k, v

    return Call(inputs, run, expected)


@st.composite
def join(draw: st.DrawFn) -> Call:
    """Heads side by side."""
    shape = (draw(sizes), draw(sizes), draw(sizes), draw(widths))
    return Call(
        (Input(normal(shape, draw(seeds)), draw(floats)),),
        lambda chip, t: chip.concat_heads(t[0]),
        lambda x: x.swapaxes(1, 2).reshape(shape[0], shape[2], -1),
    )


@st.composite
def join_decode(draw: st.DrawFn) -> Call:
    """Heads of one position of each user side by side."""
    shape = (1, draw(sizes), draw(sizes), draw(widths))
    return Call(
        (Input(normal(shape, draw(seeds)), draw(floats)),),
        lambda chip, t: chip.concat_heads_decode(t[0]),
        lambda x: x.reshape(1, 1, shape[1], -1),
    )


CALLS: Calls = {
    "create_heads": create(),
    "create_heads_decode": create_decode(),
    "split_query_key_value": split(),
    "concat_heads": join(),
    "concat_heads_decode": join_decode(),
}
