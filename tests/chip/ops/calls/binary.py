"""Calls of ops on two operands, and of `where`."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..call import Array, Call, Calls, Input
from ..draw import float_inputs, floats, integer_inputs, seeds, shapes, whole

Function = Callable[[Array, Array], Array]

NEAREST = 0.51  # float32, rounded to the format
FUSED = 8.0  # an activation in float32 on top, and one rounded before

broadcasting = hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=9)
numbers = st.sampled_from([0.0, 1.0, -2.0, 0.75, 24.0])  # bfloat16 has them
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
}


@st.composite
def tensors(
    draw: st.DrawFn, name: str, function: Function, singular: bool = False, ulps: float = NEAREST
) -> Call:
    """Two float tensors of shapes that broadcast, of any formats."""
    a, b = (
        draw(float_inputs(shape, singular=singular, special=True))
        for shape in draw(broadcasting).input_shapes
    )
    return Call((a, b), lambda chip, t: getattr(chip, name)(*t), function, ulps=ulps)


@st.composite
def integers(draw: st.DrawFn, name: str, function: Function) -> Call:
    """Two int32 tensors of shapes that broadcast."""
    a, b = (draw(integer_inputs(shape, -50)) for shape in draw(broadcasting).input_shapes)
    return Call((a, b), lambda chip, t: getattr(chip, name)(*t), function)


@st.composite
def with_number(draw: st.DrawFn, name: str, function: Function) -> Call:
    """A float tensor and a number."""
    a, number = draw(float_inputs(special=True)), draw(numbers)
    return Call(
        (a,),
        lambda chip, t: getattr(chip, name)(t[0], number),
        lambda a: function(a, np.asarray(number)),
        ulps=NEAREST,
    )


@st.composite
def fused(draw: st.DrawFn, name: str, function: Function) -> Call:
    """Two tensors of one shape with an activation before and one after, to any float format."""
    shape = draw(shapes())
    before, after = (draw(st.sampled_from(sorted(ACTIVATIONS))) for _ in range(2))
    a, b = (draw(float_inputs(shape)) for _ in range(2))
    dtype = draw(st.one_of(st.none(), floats))
    return Call(
        (a, Input(np.abs(b.values) + 1, b.dtype)),
        lambda chip, t: getattr(chip, name)(*t, [after], [before], dtype),
        lambda a, b: ACTIVATIONS[after](function(ACTIVATIONS[before](a), b)),
        ulps=FUSED,
        absolute=0.05,
    )


@st.composite
def to_format(draw: st.DrawFn, name: str, function: Function) -> Call:
    """Two tensors, or a tensor and a number, to any float format."""
    a, b, dtype = draw(float_inputs((3, 40))), draw(float_inputs((40,))), draw(floats)
    number = draw(st.one_of(st.none(), numbers))
    return Call(
        (a, b),
        lambda chip, t: getattr(chip, name)(t[0], t[1] if number is None else number, dtype=dtype),
        lambda a, b: function(a, b if number is None else np.asarray(number)),
        ulps=NEAREST,
        absolute=1e-6,
    )


@st.composite
def where(draw: st.DrawFn) -> Call:
    """A condition of zeros and ones, tensors or numbers to choose from."""
    condition_shape, a_shape, b_shape = draw(
        hnp.mutually_broadcastable_shapes(num_shapes=3, max_dims=3, max_side=17)
    ).input_shapes
    condition = Input(whole(condition_shape, draw(seeds), 0, 1), "int32")
    a, b = draw(float_inputs(a_shape)), draw(float_inputs(b_shape))
    a_is, b_is = draw(st.booleans()), draw(st.booleans())  # tensors, or else 2 and -1
    if not (a_is or b_is):
        condition = draw(integer_inputs(condition_shape, -1))

    def operands(rest: list[Any]) -> tuple[Any, Any]:
        return rest.pop(0) if a_is else 2, rest.pop(0) if b_is else -1

    return Call(
        (condition, *[x for x, given in ((a, a_is), (b, b_is)) if given]),
        lambda chip, t: chip.where(t[0], *operands(list(t[1:]))),
        lambda *arrays: np.where(arrays[0] != 0, *operands(list(arrays[1:]))),
    )


def squared(a: Array, b: Array) -> Array:
    """(a - b) ** 2."""
    return np.asarray((a - b) ** 2)


FUSABLE: dict[str, Function] = {
    "add": np.add,
    "sub": np.subtract,
    "rsub": lambda a, b: b - a,
    "mul": np.multiply,
}
COMPARING: dict[str, Function] = {
    "maximum": np.maximum,
    "minimum": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}
CALLS: Calls = {
    **{
        name: st.one_of(
            tensors(name, f),
            integers(name, f),
            with_number(name, f),
            fused(name, f),
            to_format(name, f),
        )
        for name, f in FUSABLE.items()
    },
    **{
        name: st.one_of(tensors(name, f), integers(name, f), with_number(name, f))
        for name, f in COMPARING.items()
    },
    **{
        name: integers(name, getattr(np, name))
        for name in ("bitwise_and", "bitwise_or", "bitwise_xor")
    },
    "remainder": tensors("remainder", np.remainder, True),
    "squared_difference": st.one_of(
        tensors("squared_difference", squared, ulps=2), integers("squared_difference", squared)
    ),
    "div": st.one_of(tensors("div", np.divide, True), fused("div", np.divide)),
    "where": where(),
}
