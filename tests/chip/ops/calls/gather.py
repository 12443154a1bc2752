"""Calls of ops that take and put elements by index."""

import numpy as np
from hypothesis import strategies as st

from ..call import Array, Call, Calls, Input
from ..draw import float_inputs, seeds, shapes, whole


@st.composite
def indexed(draw: st.DrawFn) -> tuple[Input, int, Input]:
    """A tensor, a dim of it, and indices into that."""
    shape = draw(shapes(least_dims=1, least=1, most=12))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    sides = [
        draw(st.integers(0, 12 if i == dim % len(shape) else size)) for i, size in enumerate(shape)
    ]
    index = whole(tuple(sides), draw(seeds), 0, shape[dim] - 1)
    dtype = draw(st.sampled_from(["int32", "uint32"]))
    return draw(float_inputs(shape)), dim, Input(index, dtype)


@st.composite
def gather_elements(draw: st.DrawFn) -> Call:
    """Any tensor, dim and indices."""
    x, dim, index = draw(indexed())

    def expected(x: Array, index: Array) -> Array:
        out = np.empty(index.shape)
        for place in np.ndindex(*index.shape):
            source = list(place)
            source[dim] = index[place]
            out[place] = x[tuple(source)]
        return out

    return Call((x, index), lambda c, t: c.gather_elements(t[0], dim, t[1]), expected)


@st.composite
def scatter_elements(draw: st.DrawFn) -> Call:
    """Any tensor, dim and indices, each index once."""
    x, dim, index = draw(indexed())
    length, limit = index.values.shape[dim], x.values.shape[dim]
    if length > limit:
        index = Input(np.take(index.values, range(limit), axis=dim), index.dtype)
    shape = index.values.shape
    ranks = np.random.default_rng(draw(seeds)).random(
        (*np.moveaxis(index.values, dim, -1).shape[:-1], limit)
    )
    once = np.moveaxis(np.argsort(ranks)[..., : shape[dim]], -1, dim)
    source = Input(draw(float_inputs(shape)).values, x.dtype)

    def expected(x: Array, index: Array, source: Array) -> Array:
        out = x.copy()
        for place in np.ndindex(*index.shape):
            target = list(place)
            target[dim] = index[place]
            out[tuple(target)] = source[place]
        return out

    return Call(
        (x, Input(once, index.dtype), source),
        lambda c, t: c.scatter_elements(t[0], dim, t[1], t[2]),
        expected,
    )


CALLS: Calls = {"gather_elements": gather_elements(), "scatter_elements": scatter_elements()}
