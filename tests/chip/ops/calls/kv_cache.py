"""Calls of writes into a cache; what comes out is the cache."""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.tensor import Layout, Tensor

from ..call import Array, Call, Calls, Input
from ..draw import normal, seeds
from ..near import plain_floats
from .attention import tables

sizes = st.integers(1, 3)


def writes(name: str, *params: object) -> Callable[[Chip, Sequence[Tensor]], Tensor]:
    """Calls the op with the tensors, then these."""

    def run(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
        getattr(chip, name)(*tensors, *params)
        return tensors[0]

    return run


@st.composite
def update(draw: st.DrawFn) -> Call:
    """The same positions of every user."""
    batch, kv_heads, width, new = (draw(sizes) for _ in range(4))
    start, spare, dtype = draw(st.integers(0, 9)), draw(sizes), draw(plain_floats)
    shape = (batch, kv_heads, start + new + spare, width)

    def expected(cache: Array, x: Array) -> Array:
        cache[:, :, start : start + new] = x
        return cache

    inputs = (normal(shape, draw(seeds)), normal((batch, kv_heads, new, width), draw(seeds)))
    return Call(
        tuple(Input(values, dtype) for values in inputs), writes("update_cache", start), expected
    )


@st.composite
def fill(draw: st.DrawFn) -> Call:
    """The first positions of one user."""
    batch, kv_heads, width, new, spare = (draw(sizes) for _ in range(5))
    user, dtype = draw(st.integers(0, batch - 1)), draw(plain_floats)

    def expected(cache: Array, x: Array) -> Array:
        cache[user, :, :new] = x[0]
        return cache

    shapes = [(batch, kv_heads, new + spare, width), (1, kv_heads, new, width)]
    return Call(
        tuple(Input(normal(shape, draw(seeds)), dtype) for shape in shapes),
        writes("fill_cache", user),
        expected,
    )


@st.composite
def paged_update(draw: st.DrawFn) -> Call:
    """One position of each user, with pages or without; x may be of another format."""
    users, kv_heads, width, pages = (draw(sizes) for _ in range(4))
    block, paged, as_tensor = (
        draw(st.sampled_from([4, 32])),
        draw(st.booleans()),
        draw(st.booleans()),
    )
    length = block * pages
    at = draw(st.lists(st.integers(-1, length - 1), min_size=users, max_size=users))
    shape = (users * pages + 2 if paged else users, kv_heads, block if paged else length, width)
    inputs = [
        Input(normal(shape, draw(seeds)), draw(plain_floats)),
        Input(normal((1, users, kv_heads, width), draw(seeds)), draw(plain_floats)),
    ]
    inputs += [draw(tables(users, pages))] if paged else []
    inputs += [Input(np.array(at), "int32", Layout.ROW_MAJOR)] if as_tensor else []

    def run(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
        cache, x, *others = tensors
        positions = others.pop() if as_tensor else at
        chip.paged_update_cache(cache, x, positions, *others)
        return cache

    def expected(cache: Array, x: Array, *others: Array) -> Array:
        for user, position in enumerate(at):
            if position >= 0 and paged:
                block_number = others[0][user, position // block]
                cache[block_number, :, position % block] = x[0, user]
            elif position >= 0:
                cache[user, :, position] = x[0, user]
        return cache

    return Call(tuple(inputs), run, expected)


@st.composite
def paged_fill(draw: st.DrawFn) -> Call:
    """The first positions of one user, block after block."""
    users, kv_heads, width, pages = (draw(sizes) for _ in range(4))
    block, user = draw(st.sampled_from([4, 32])), draw(st.integers(0, users - 1))
    new, dtype = draw(st.integers(1, block * pages)), draw(plain_floats)
    table = draw(tables(users, pages))

    def expected(cache: Array, x: Array, table: Array) -> Array:
        for position in range(new):
            cache[table[user, position // block], :, position % block] = x[0, :, position]
        return cache

    shapes = [(users * pages + 2, kv_heads, block, width), (1, kv_heads, new, width)]
    inputs = [Input(normal(shape, draw(seeds)), dtype) for shape in shapes]
    return Call((*inputs, table), writes("paged_fill_cache", user), expected)


CALLS: Calls = {
    "update_cache": update(),
    "fill_cache": fill(),
    "paged_update_cache": paged_update(),
    "paged_fill_cache": paged_fill(),
}
