"""Calls of ops that cut, join and repeat; and of the look-up of rows."""

import builtins

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meshtwin.chip.tensor import Layout

from ..call import Array, Call, Calls, Input
from ..draw import float_inputs, floats, integer_inputs, normal, seeds, shapes, whole
from ..near import plain_floats


@st.composite
def slices(draw: st.DrawFn) -> Call:
    """Any box, with steps or without."""
    shape = draw(shapes())
    bounds = [sorted(draw(st.integers(0, dim)) for _ in range(2)) for dim in shape]
    starts, stops = ([pair[end] for pair in bounds] for end in (0, 1))
    steps = draw(st.none() | st.just([draw(st.integers(1, 5)) for _ in shape]))
    cut = tuple(map(builtins.slice, starts, stops, steps or [1] * len(shape)))
    given = draw(st.one_of(float_inputs(shape), integer_inputs(shape)))
    return Call((given,), lambda chip, t: chip.slice(t[0], starts, stops, steps), lambda x: x[cut])


@st.composite
def concat(draw: st.DrawFn) -> Call:
    """Parts of different lengths along one dim."""
    shape = draw(shapes(least_dims=1))
    dim, dtype = draw(st.integers(-len(shape), len(shape) - 1)), draw(floats)
    lengths = draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))
    parts = [[*shape] for _ in lengths]
    for part, length in zip(parts, lengths, strict=True):
        part[dim] = length
    return Call(
        tuple(Input(normal(tuple(part), draw(seeds)), dtype) for part in parts),
        lambda chip, t: chip.concat(t, dim),
        lambda *arrays: np.concatenate(arrays, axis=dim),
    )


@st.composite
def stack(draw: st.DrawFn) -> Call:
    """Parts of one shape along a new dim."""
    shape, dtype = draw(shapes(most_dims=3)), draw(floats)
    dim = draw(st.integers(-len(shape) - 1, len(shape)))
    count = draw(st.integers(1, 3))
    return Call(
        tuple(Input(normal(shape, draw(seeds)), dtype) for _ in range(count)),
        lambda chip, t: chip.stack(t, dim),
        lambda *arrays: np.stack(arrays, axis=dim),
    )


@st.composite
def split(draw: st.DrawFn) -> Call:
    """Pieces of one size, or of given sizes."""
    shape = draw(shapes(least_dims=1))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    size: int | list[int] = draw(st.integers(1, 40))
    ends = builtins.list(range(0, shape[dim], size))[1:] if isinstance(size, int) else []
    if draw(st.booleans()):
        ends = sorted(draw(st.lists(st.integers(0, shape[dim]), max_size=3)))
        size = [stop - start for start, stop in zip([0, *ends], [*ends, shape[dim]], strict=True)]
    if not shape[dim] and isinstance(size, int):
        return Call(
            (draw(float_inputs(shape)),), lambda chip, t: chip.split(t[0], size, dim), lambda x: ()
        )
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.split(t[0], size, dim),
        lambda x: tuple(np.split(x, ends, axis=dim)),
    )


@st.composite
def chunk(draw: st.DrawFn) -> Call:
    """At most so many pieces of one size."""
    shape = draw(shapes(least_dims=1, least=1))
    dim, chunks = draw(st.integers(-len(shape), len(shape) - 1)), draw(st.integers(1, 9))
    size = -(-shape[dim] // chunks)
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.chunk(t[0], chunks, dim),
        lambda x: tuple(np.split(x, range(size, shape[dim], size), axis=dim)),
    )


@st.composite
def repeat(draw: st.DrawFn) -> Call:
    """Every dim some times, and perhaps a new one."""
    shape = draw(shapes(most_dims=3, most=10))
    counts = st.lists(st.integers(0, 3), min_size=len(shape), max_size=4)
    times = draw(counts)
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.repeat(t[0], times),
        lambda x: np.tile(x, times),
    )


@st.composite
def interleave(draw: st.DrawFn) -> Call:
    """Each element of a dim some times."""
    shape = draw(shapes(least_dims=1, most_dims=3))
    dim, times = draw(st.integers(-len(shape), len(shape) - 1)), draw(st.integers(1, 4))
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.repeat_interleave(t[0], times, dim),
        lambda x: np.repeat(x, times, axis=dim),
    )


@st.composite
def expand(draw: st.DrawFn) -> Call:
    """Dims of 1 grown, new dims before."""
    whole_shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=8))
    skipped = draw(st.integers(0, len(whole_shape)))
    shape = tuple(draw(st.sampled_from([1, dim])) for dim in whole_shape[skipped:])
    asked = [
        -1 if index >= skipped and shape[index - skipped] == dim and draw(st.booleans()) else dim
        for index, dim in enumerate(whole_shape)
    ]
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: chip.expand(t[0], asked),
        lambda x: np.broadcast_to(x, whole_shape),
    )


@st.composite
def pad(draw: st.DrawFn) -> Call:
    """After the last dims; before them too where rows lie one after another."""
    shape = draw(shapes(most_dims=3))
    layout = draw(st.sampled_from(Layout))
    fronts = st.integers(0, 3 if layout is Layout.ROW_MAJOR else 0)
    skipped = draw(st.integers(0, len(shape)))
    pairs = [(draw(fronts), draw(st.integers(0, 9))) for _ in shape[skipped:]]
    value = draw(st.sampled_from([0, 1, 7]))
    if draw(st.booleans()):
        given = Input(normal(shape, draw(seeds)), draw(plain_floats), layout)
    else:
        given = Input(whole(shape, draw(seeds), 0, 9), "int32", layout)
    return Call(
        (given,),
        lambda chip, t: chip.pad(t[0], pairs, value),
        lambda x: np.pad(x, [(0, 0)] * skipped + pairs, constant_values=value) if shape else x,
    )


@st.composite
def embedding(draw: st.DrawFn) -> Call:
    """Ids in and beyond this chip's part of a table."""
    rows, width = draw(st.integers(1, 20)), draw(st.integers(1, 40))
    first_row = draw(st.integers(0, 5))

    def expected(ids: Array, table: Array) -> Array:
        found = table[np.clip(ids - first_row, 0, rows - 1)]
        inside = (ids >= first_row) & (ids < first_row + rows)
        return np.where(inside[..., None], found, 0)

    return Call(
        (
            draw(integer_inputs(draw(shapes(most_dims=2)), most=30)),
            Input(normal((rows, width), draw(seeds)), draw(floats)),
        ),
        lambda chip, t: chip.embedding(t[0], t[1], first_row),
        expected,
    )


CALLS: Calls = {
    "slice": slices(),
    "concat": concat(),
    "stack": stack(),
    "split": split(),
    "chunk": chunk(),
    "repeat": repeat(),
    "repeat_interleave": interleave(),
    "expand": expand(),
    "pad": pad(),
    "embedding": embedding(),
}
