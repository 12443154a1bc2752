"""Strategies that the families of calls share: formats, shapes, values and inputs."""

import math

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from meshtwin.chip.dtype import DType

from .call import Array, Input

FLOATS = [dtype.label for dtype in DType if dtype.is_float]
INTEGERS = ["int32", "uint32"]
WHOLE_RANGE = {"float32", "bfloat16"}  # formats with infinity, NaN and an exponent per number

MOST_ELEMENTS = 5000

floats = st.sampled_from(FLOATS)
integers = st.sampled_from(INTEGERS)
seeds = st.integers(0, 2**32 - 1)


def shapes(
    least_dims: int = 0, most_dims: int = 4, least: int = 0, most: int = 40
) -> SearchStrategy[tuple[int, ...]]:
    """Shapes of a few dims, mostly short ones, now and then beyond a tile."""
    side = st.one_of(st.integers(least, 3), st.integers(least, most))
    sides = st.lists(side, min_size=least_dims, max_size=most_dims).map(tuple)
    return sides.filter(lambda shape: math.prod(shape) <= MOST_ELEMENTS)


def normal(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> Array:
    """Normally distributed numbers."""
    return np.asarray(np.random.default_rng(seed).standard_normal(shape) * scale)


def whole(shape: tuple[int, ...], seed: int, least: int, most: int) -> Array:
    """Integers within least .. most."""
    return np.asarray(np.random.default_rng(seed).integers(least, most, shape, endpoint=True))


@st.composite
def float_inputs(
    draw: st.DrawFn,
    shape: tuple[int, ...] | None = None,
    scale: float = 1.0,
    singular: bool = False,
    special: bool = False,
) -> Input:
    """A float tensor of this shape, or of any.

    Args:
        scale: about how large the numbers are.
        singular: the function has poles or holes: formats that cannot hold what comes out there get
            numbers between 1 and 2.
        special: zeros, infinities, NaN and whole numbers are among the numbers, where the format
            has them.
    """
    chosen = draw(shapes()) if shape is None else shape
    dtype, seed = draw(floats), draw(seeds)
    rng = np.random.default_rng(seed)
    if dtype not in WHOLE_RANGE:
        return Input(rng.uniform(1, 2, chosen) if singular else normal(chosen, seed, scale), dtype)
    values = normal(chosen, seed, scale * draw(st.sampled_from([1.0, 1e-3])))
    if special:
        odd = rng.choice([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.5, 7.0], chosen)
        values = np.where(rng.random(chosen) < 0.2, odd, values)
    return Input(values, dtype)


@st.composite
def integer_inputs(
    draw: st.DrawFn, shape: tuple[int, ...] | None = None, least: int = 0, most: int = 100
) -> Input:
    """An integer tensor of this shape, or of any; uint32 only where no value is negative."""
    chosen = draw(shapes()) if shape is None else shape
    dtype = draw(integers) if least >= 0 else "int32"
    return Input(whole(chosen, draw(seeds), least, most), dtype)
