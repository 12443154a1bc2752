"""Calls of ops on two tensors."""

import operator
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..call import Array, Call, Calls
from ..draw import float_inputs, integer_inputs

broadcasting = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=40)


@st.composite
def binary(draw: st.DrawFn, name: str, function: Callable[[Array, Array], Array]) -> Call:
    """Two tensors of shapes that broadcast: floats of any formats, or the same integers."""
    a_shape, b_shape = draw(broadcasting).input_shapes
    if draw(st.booleans()):
        a, b = draw(float_inputs(a_shape)), draw(float_inputs(b_shape))
    else:
        a = draw(integer_inputs(a_shape))
        b = draw(integer_inputs(b_shape).filter(lambda b: b.dtype == a.dtype))
    return Call((a, b), lambda chip, t: getattr(chip, name)(*t), function, ulps=0.5001)


CALLS: Calls = {"add": binary("add", operator.add), "mul": binary("mul", operator.mul)}
