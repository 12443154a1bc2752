"""Calls of the ops that reduce dims, order them or sum along them."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..call import Array, Call, Calls
from ..draw import float_inputs, integer_inputs, shapes

some = shapes(least_dims=1, least=1)


def dims_of(shape: tuple[int, ...]) -> st.SearchStrategy[Any]:
    """None, a dim, or a list of dims, counted from either end."""
    rank = len(shape)
    one = st.integers(-rank, rank - 1)
    return st.one_of(st.none(), one, st.lists(one, unique_by=lambda dim: dim % rank))


@st.composite
def reduction(draw: st.DrawFn, name: str, function: Callable[..., Any]) -> Call:
    """Floats, any dims, kept or not."""
    shape = draw(some)
    dim, keep = draw(dims_of(shape)), draw(st.booleans())
    axis = tuple(dim) if isinstance(dim, list) else dim
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: getattr(chip, name)(t[0], dim, keep),
        lambda x: np.asarray(function(x, axis=axis, keepdims=keep)),
        ulps=40,  # float32 sums of some thousand numbers
        absolute=1e-3,
    )


@st.composite
def whole_reduction(draw: st.DrawFn, name: str, function: Callable[..., Any]) -> Call:
    """Integers, any dims, kept or not."""
    shape = draw(some)
    dim, keep = draw(dims_of(shape)), draw(st.booleans())
    axis = tuple(dim) if isinstance(dim, list) else dim
    return Call(
        (draw(integer_inputs(shape, -1, 1)),),
        lambda chip, t: getattr(chip, name)(t[0], dim, keep),
        lambda x: np.asarray(function(x, axis=axis, keepdims=keep)),
    )


@st.composite
def spread(draw: st.DrawFn, name: str, function: Callable[..., Any]) -> Call:
    """Floats whose reduced dims hold two numbers or more, with and without correction."""
    shape = draw(shapes(least_dims=1, least=2, most=12))
    dim = draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    correction = draw(st.booleans())
    return Call(
        (draw(float_inputs(shape)),),
        lambda chip, t: getattr(chip, name)(t[0], dim, True, correction),
        lambda x: function(x, axis=dim, keepdims=True, ddof=int(correction)),
        ulps=10,
        absolute=1e-4,
    )


@st.composite
def cumsum(draw: st.DrawFn) -> Call:
    """Any dim of floats or integers."""
    shape = draw(some)
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    x = draw(st.one_of(float_inputs(shape), integer_inputs(shape)))
    return Call(
        (x,),
        lambda chip, t: chip.cumsum(t[0], dim),
        lambda x: np.cumsum(x, axis=dim),
        ulps=1,
        absolute=1e-4,
    )


@st.composite
def argmax(draw: st.DrawFn) -> Call:
    """Any dim, or all, of floats or integers."""
    shape = draw(some)
    dim = draw(st.one_of(st.none(), st.integers(-len(shape), len(shape) - 1)))
    keep = draw(st.booleans())
    x = draw(st.one_of(float_inputs(shape), integer_inputs(shape, -2, 2)))
    return Call(
        (x,),
        lambda chip, t: chip.argmax(t[0], dim, keep),
        lambda x: np.argmax(x, axis=dim, keepdims=keep),
    )


def ordered(x: Array, dim: int, descending: bool, k: int | None = None) -> tuple[Array, Array]:
    """The first k elements in order, and where they were."""
    order = np.argsort(-x if descending else x, axis=dim, kind="stable")
    order = np.take(order, range(x.shape[dim] if k is None else k), axis=dim)
    return np.take_along_axis(x, order, axis=dim), order


@st.composite
def topk(draw: st.DrawFn) -> Call:
    """Any k and dim, the largest or the smallest."""
    shape = draw(some)
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    k, largest = draw(st.integers(1, shape[dim])), draw(st.booleans())
    indices = draw(st.sampled_from(["uint16", "uint32"]))
    x = draw(st.one_of(float_inputs(shape), integer_inputs(shape, 0, 5)))
    return Call(
        (x,),
        lambda chip, t: chip.topk(t[0], k, dim, largest, indices_dtype=indices),
        lambda x: ordered(x, dim, largest, k),
    )


@st.composite
def sort(draw: st.DrawFn) -> Call:
    """Any dim, up or down."""
    shape = draw(shapes(least_dims=1))
    dim = draw(st.integers(-len(shape), len(shape) - 1))
    descending, indices = draw(st.booleans()), draw(st.sampled_from(["uint16", "uint32"]))
    x = draw(st.one_of(float_inputs(shape), integer_inputs(shape, 0, 5)))
    return Call(
        (x,),
        lambda chip, t: chip.sort(t[0], dim, descending, indices),
        lambda x: ordered(x, dim, descending),
    )


CALLS: Calls = {
    "sum": st.one_of(reduction("sum", np.sum), whole_reduction("sum", np.sum)),
    "max": st.one_of(reduction("max", np.max), whole_reduction("max", np.max)),
    "min": st.one_of(reduction("min", np.min), whole_reduction("min", np.min)),
    "prod": st.one_of(reduction("prod", np.prod), whole_reduction("prod", np.prod)),
    "mean": reduction("mean", np.mean),
    "var": spread("var", np.var),
    "std": spread("std", np.std),
    "cumsum": cumsum(),
    "argmax": argmax(),
    "topk": topk(),
    "sort": sort(),
}
