"""Calls of the ops that reduce a dim."""

import numpy as np
from hypothesis import strategies as st

from ..call import Array, Call, Calls
from ..draw import float_inputs, shapes


@st.composite
def argmax(draw: st.DrawFn) -> Call:
    """Any dim of any float tensor."""
    shape = draw(shapes(least_dims=1, least=1))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    x = draw(float_inputs(shape))
    return Call((x,), lambda chip, t: chip.argmax(t[0], dim), lambda x: np.argmax(x, axis=dim))


@st.composite
def topk(draw: st.DrawFn) -> Call:
    """Any k and dim."""
    shape = draw(shapes(least_dims=1, least=1))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    k = draw(st.integers(1, shape[dim]))

    def expected(x: Array) -> tuple[Array, Array]:
        order = np.take(np.argsort(-x, axis=dim, kind="stable"), range(k), axis=dim)
        return np.take_along_axis(x, order, axis=dim), order

    return Call((draw(float_inputs(shape)),), lambda chip, t: chip.topk(t[0], k, dim), expected)


CALLS: Calls = {"argmax": argmax(), "topk": topk()}
