"""Calls of functions of one number."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from ..call import Array, Call, Calls
from ..draw import float_inputs


@st.composite
def unary(draw: st.DrawFn, name: str, function: Callable[[Array], Array]) -> Call:
    """A tensor of any float format and shape."""
    x = draw(float_inputs(scale=3.0))
    return Call((x,), lambda chip, t: getattr(chip, name)(t[0]), function, ulps=4)


CALLS: Calls = {"silu": unary("silu", lambda x: x / (1 + np.exp(-x)))}
