"""Calls of ops that make tensors of numbers."""

import numpy as np
from hypothesis import strategies as st

from ..call import Call, Calls
from ..draw import FLOATS, float_inputs, floats, integer_inputs, integers, shapes

numbers = st.sampled_from([0, 1, 2, 24])
dtypes = st.one_of(floats, integers)


@st.composite
def full(draw: st.DrawFn) -> Call:
    """Any shape and format."""
    shape, number, dtype = draw(shapes()), draw(numbers), draw(dtypes)
    return Call(
        (), lambda chip, _: chip.full(shape, number, dtype), lambda: np.full(shape, number, float)
    )


@st.composite
def constant(draw: st.DrawFn, name: str, number: int) -> Call:
    """Any shape and format."""
    shape, dtype = draw(shapes()), draw(dtypes)
    return Call(
        (),
        lambda chip, _: getattr(chip, name)(shape, dtype),
        lambda: np.full(shape, number, float),
    )


@st.composite
def arange(draw: st.DrawFn) -> Call:
    """Up or down, in steps."""
    start, end = draw(st.integers(-20, 20)), draw(st.integers(-20, 20))
    step = draw(st.sampled_from([-3, -1, 1, 2]))
    if draw(st.booleans()):
        return Call((), lambda c, _: c.arange(end, dtype="float32"), lambda: np.arange(end))
    return Call(
        (),
        lambda chip, _: chip.arange(start, end, step, "int32"),
        lambda: np.arange(start, end, step),
    )


@st.composite
def upload(draw: st.DrawFn) -> Call:
    """An array of the host, in any format that holds its numbers."""
    shape, number, dtype = draw(shapes()), draw(numbers), draw(dtypes)
    array = np.full(shape, number, float if dtype in FLOATS else int)
    return Call((), lambda chip, _: chip.upload(array, dtype), lambda: array)


@st.composite
def alike(draw: st.DrawFn, name: str, number: int | None = None) -> Call:
    """Any tensor as the pattern."""
    x = draw(st.one_of(float_inputs(), integer_inputs()))
    given = draw(numbers) if number is None else number
    params = (given,) if number is None else ()
    return Call(
        (x,),
        lambda chip, t: getattr(chip, name)(t[0], *params),
        lambda x: np.full(x.shape, given, float),
    )


CALLS: Calls = {
    "upload": upload(),
    "full": full(),
    "zeros": constant("zeros", 0),
    "ones": constant("ones", 1),
    "arange": arange(),
    "full_like": alike("full_like"),
    "fill": alike("fill"),
    "zeros_like": alike("zeros_like", 0),
    "ones_like": alike("ones_like", 1),
}
