"""Calls of ops that give elements another shape, order or layout."""

import math

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.tensor import Layout

from ..call import Array, Call, Calls, Input
from ..draw import float_inputs, integer_inputs, normal, seeds, shapes
from ..near import plain_floats

inputs = st.one_of(float_inputs(), integer_inputs())


@st.composite
def reshape(draw: st.DrawFn) -> Call:
    """To the prime factors of the size in some order, grouped, one of them left open."""
    given = draw(inputs)
    shape, size = [], max(1, given.values.size)
    while size > 1:
        divisor = draw(st.sampled_from([d for d in range(2, size + 1) if size % d == 0][:8]))
        shape.append(divisor)
        size //= divisor
    if not given.values.size:
        shape = [*given.values.shape]
    whole = tuple(draw(st.permutations(shape)))
    asked = list(whole)
    if whole and given.values.size and draw(st.booleans()):
        asked[draw(st.integers(0, len(whole) - 1))] = -1
    return Call((given,), lambda chip, t: chip.reshape(t[0], asked), lambda x: x.reshape(whole))


@st.composite
def permute(draw: st.DrawFn) -> Call:
    """Any order of the dims."""
    given = draw(inputs)
    dims = draw(st.permutations(range(given.values.ndim)))
    return Call((given,), lambda chip, t: chip.permute(t[0], dims), lambda x: x.transpose(dims))


@st.composite
def transpose(draw: st.DrawFn) -> Call:
    """Two dims swapped."""
    shape = draw(shapes(least_dims=1))
    first, second = (draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.transpose(t[0], first, second),
        lambda x: x.swapaxes(first, second),
    )


@st.composite
def squeeze(draw: st.DrawFn) -> Call:
    """A dim of 1, a dim that is none, or all."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 1, 3]), min_size=1, max_size=4)))
    dim = draw(st.none() | st.integers(-len(shape), len(shape) - 1))

    def expected(x: Array) -> Array:
        return x if dim is not None and shape[dim] != 1 else x.squeeze(dim)

    given = draw(float_inputs(shape))
    return Call((given,), lambda chip, t: chip.squeeze(t[0], dim), expected)


@st.composite
def unsqueeze(draw: st.DrawFn) -> Call:
    """At any place."""
    shape = draw(shapes(most_dims=3))
    dim = draw(st.integers(-len(shape) - 1, len(shape)))
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.unsqueeze(t[0], dim),
        lambda x: np.expand_dims(x, dim),
    )


@st.composite
def to_4d(draw: st.DrawFn) -> Call:
    """From four dims or fewer."""
    given = draw(inputs)
    shape = (1,) * (4 - given.values.ndim) + given.values.shape
    return Call((given,), lambda chip, t: chip.unsqueeze_to_4d(t[0]), lambda x: x.reshape(shape))


Shapes = st.SearchStrategy[tuple[int, ...]]
whole_tiles: Shapes = st.lists(st.sampled_from([32, 64]), min_size=2, max_size=2).map(tuple)


@st.composite
def relaid(draw: st.DrawFn, name: str, layout: Layout, of: Shapes) -> Call:
    """From this layout to the other."""
    return Call(
        (Input(normal(draw(of), draw(seeds)), draw(plain_floats), layout),),
        lambda chip, t: getattr(chip, name)(t[0]),
        lambda x: x,
    )


@st.composite
def to_layout(draw: st.DrawFn) -> Call:
    """From any layout to any."""
    old, new = (draw(st.sampled_from(Layout)) for _ in range(2))
    return Call(
        (Input(normal(draw(shapes()), draw(seeds)), draw(plain_floats), old),),
        lambda chip, t: chip.to_layout(t[0], new),
        lambda x: x,
    )


@st.composite
def padded(draw: st.DrawFn) -> Call:
    """Tilized with the padding that its shape takes."""
    shape = draw(shapes(least_dims=2))
    whole = (*shape[:-2], *(32 * math.ceil(dim / 32) for dim in shape[-2:]))
    return Call(
        (Input(normal(shape, draw(seeds)), draw(plain_floats), Layout.ROW_MAJOR),),
        lambda chip, t: chip.tilize_with_val_padding(t[0], whole, 1.0),
        lambda x: x,
    )


CALLS: Calls = {
    "reshape": reshape(),
    "permute": permute(),
    "transpose": transpose(),
    "squeeze": squeeze(),
    "unsqueeze": unsqueeze(),
    "unsqueeze_to_4d": to_4d(),
    "tilize": relaid("tilize", Layout.ROW_MAJOR, whole_tiles),
    "untilize": relaid("untilize", Layout.TILE, shapes()),
    "tilize_with_val_padding": padded(),
    "to_layout": to_layout(),
}
