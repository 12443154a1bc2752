"""Calls of functions of one number."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from meshtwin.chip.compute_config import ComputeConfig

from ..call import Array, Call, Calls, Input
from ..draw import float_inputs, integer_inputs, normal, seeds, shapes
from ..near import plain_floats

Function = Callable[[Array], Array]

NEAREST = 0.51  # float64, rounded to float32, then to bfloat16
FLOAT32 = 4.0  # a few operations in float32

erf = np.vectorize(math.erf, otypes=[float])
erfc = np.vectorize(math.erfc, otypes=[float])


@st.composite
def unary(
    draw: st.DrawFn,
    name: str,
    function: Callable[..., Array],
    ulps: float = NEAREST,
    singular: bool = False,
    params: SearchStrategy[tuple[Any, ...]] | None = None,
    absolute: float = 0.0,
) -> Call:
    """A tensor of any float format and shape, and parameters."""
    given = draw(params) if params is not None else ()
    x = draw(
        float_inputs(scale=draw(st.sampled_from([3.0, 30.0])), singular=singular, special=True)
    )
    return Call(
        (x,),
        lambda chip, t: getattr(chip, name)(t[0], *given),
        lambda x: function(x, *given),
        ulps=ulps,
        absolute=absolute,
    )


@st.composite
def whole(draw: st.DrawFn, name: str, function: Function) -> Call:
    """An int32 tensor."""
    x = draw(integer_inputs(least=-100))
    return Call((x,), lambda chip, t: getattr(chip, name)(t[0]), function)


@st.composite
def configured(
    draw: st.DrawFn, name: str, function: Function, relative: float, absolute: float, positive: bool
) -> Call:
    """By a routine of the vector unit with these largest errors; Dst holds the whole input."""
    dtype = draw(plain_floats)
    config = ComputeConfig(
        approx=draw(st.booleans()),
        fp32_dest_acc=dtype == "float32" or draw(st.booleans()),
        rounding=draw(st.sampled_from(["nearest_even", "packer"])),
    )
    x = normal(draw(shapes()), draw(seeds), 3.0)
    if positive:
        x = 0.01 + abs(x)
    bits = 23 if dtype == "float32" else 7
    return Call(
        (Input(x, dtype),),
        lambda chip, t: getattr(chip, name)(t[0], compute=config),
        function,
        ulps=1.01 + relative * 2.0 ** (bits + 1) * config.approx,
        absolute=absolute * config.approx + (0 if config.fp32_dest_acc else 1e-5),
    )


def either(name: str, function: Function) -> SearchStrategy[Call]:
    """Floats or integers."""
    return st.one_of(unary(name, function), whole(name, function))


def gelu(x: Array, form: str) -> Array:
    """The two forms of gelu."""
    if form == "none":
        return np.asarray(x * 0.5 * erfc(-x / math.sqrt(2)))
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return np.asarray(x / (1 + np.exp(-2 * u)))


def softplus(x: Array) -> Array:
    """log(1 + exp(x)), but x itself above 20."""
    return np.where(x > 20, x, np.log1p(np.exp(x)))


def clamp(x: Array, low: float | None, high: float | None) -> Array:
    """Within low .. high."""
    return np.asarray(np.clip(x, low, high))


slopes = st.tuples(st.sampled_from([0.01, 0.25, 1.5]))
forms = st.tuples(st.sampled_from(["none", "tanh"]))
exponents = st.tuples(st.sampled_from([-2.0, -0.5, 0.0, 0.5, 2.0, 3.0, 1.7]))
bounds = st.tuples(st.sampled_from([-2.0, 0.0, None]), st.sampled_from([0.5, 3.0, None]))

SINGULAR: dict[str, Function] = {
    "reciprocal": lambda x: 1 / x,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
}
SMOOTH: dict[str, Function] = {
    "frac": lambda x: x - np.trunc(x),
    "tan": np.tan,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "erfc": erfc,
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * (np.clip(x + 3, 0, 6) / 6),
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.rint,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "erf": erf,
    "relu6": lambda x: np.clip(x, 0, 6),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
}
WHOLE: dict[str, Function] = {
    "abs": np.abs,
    "neg": np.negative,
    "sign": np.sign,
    "square": np.square,
    "relu": lambda x: np.maximum(x, 0),
    "logical_not": lambda x: x == 0,
}
CALLS: Calls = {
    **{name: unary(name, function, singular=True) for name, function in SINGULAR.items()},
    **{name: unary(name, function) for name, function in SMOOTH.items()},
    **{name: either(name, function) for name, function in WHOLE.items()},
    "silu": unary("silu", lambda x: x / (1 + np.exp(-x)), FLOAT32, absolute=1e-36),
    "gelu": unary("gelu", gelu, params=forms),
    "pow": unary("pow", np.power, singular=True, params=exponents),
    "clamp": unary("clamp", clamp, params=bounds),
    "leaky_relu": unary("leaky_relu", lambda x, s: np.where(x < 0, x * s, x), params=slopes),
    "elu": unary("elu", lambda x, s: np.where(x < 0, s * np.expm1(x), x), params=slopes),
    "softplus": unary("softplus", softplus),
}

ROUTINES: dict[str, tuple[float, float, bool]] = {  # error of `approx`, relative and absolute
    "exp": (3.2e-2, 0, False),
    "reciprocal": (5.7e-3, 0, True),
    "sqrt": (9e-4, 0, True),
    "rsqrt": (9e-4, 0, True),
    "gelu": (0, 2.4e-2, False),
    "sigmoid": (0, 1.9e-2, False),
    "tanh": (0, 1.5e-1, False),
}
FUNCTIONS: dict[str, Function] = {**SINGULAR, **SMOOTH, "gelu": lambda x: gelu(x, "none")}
CALLS |= {
    name: st.one_of(CALLS[name], configured(name, FUNCTIONS[name], *errors))
    for name, errors in ROUTINES.items()
}
