"""The vector unit's functions against float64, at the accuracy their documents or tests claim."""

from collections.abc import Callable
from math import erf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meshtwin.chip import sfpu
from meshtwin.chip.tensor import Array, Floats

Function = Callable[[Floats], Floats]

EVERY_WORD = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
IS_NORMAL = np.isfinite(EVERY_WORD) & (np.abs(EVERY_WORD) >= 2.0**-126)
NORMAL_WORDS = EVERY_WORD[IS_NORMAL]
UNARY: list[Function] = [
    sfpu.exp_approx,
    sfpu.exp_bfloat16,
    sfpu.exp_float32,
    sfpu.reciprocal_approx,
    sfpu.reciprocal_bfloat16,
    sfpu.reciprocal_float32,
    sfpu.sqrt_approx,
    sfpu.sqrt_float32,
    sfpu.rsqrt_approx,
    sfpu.rsqrt_float32,
    sfpu.gelu_approx,
    sfpu.sigmoid_approx,
    sfpu.tanh_approx,
]


def off_by(function: Function, right: Callable[[Array], Array], x: Array) -> float:
    """The largest relative error."""
    exact = right(x.astype(float))
    return float((np.abs(function(x) - exact) / np.abs(exact)).max())


def sampled(least: float, most: float) -> Floats:
    return np.random.default_rng(0).uniform(least, most, 50_000).astype(np.float32)


def bits(x: Floats) -> list[int]:
    found: list[int] = x.view(np.uint32).tolist()
    return found


@pytest.mark.parametrize(
    ("function", "bound"),
    [
        (sfpu.exp_approx, 0.0313),
        (sfpu.exp_bfloat16, 1.5 * 2.0**-8),
        (sfpu.exp_float32, 1.5 * 2.0**-24),
    ],
)
def test_exp_is_as_near_as_its_method_allows(function: Function, bound: float) -> None:
    assert bound / 3 < off_by(function, np.exp, sampled(-87, 88.5)) < bound


def test_exp_approx_is_the_line_in_the_exponent() -> None:
    """By hand: 32500.818 + 369.33 x, rounded, as the upper bits of a float32."""
    x = np.array([0, 1, -1, -88.5], np.float32)
    lines = [32501, 32870, 32131, 0]
    assert bits(sfpu.exp_approx(x)) == [line << 15 for line in lines]


def test_exp_ends_where_the_formats_do() -> None:
    x = np.array([-np.inf, -200, -88, 89, np.inf, np.nan], np.float32)
    zero, inf, nan = 0.0, np.inf, np.nan
    low = [zero, zero, zero]
    np.testing.assert_array_equal(sfpu.exp_approx(x), [*low, nan, nan, nan])
    np.testing.assert_array_equal(sfpu.exp_bfloat16(x), [*low, inf, inf, inf])
    np.testing.assert_array_equal(sfpu.exp_float32(x), [*low, inf, inf, nan])


def test_exp_bfloat16_gives_bfloat16_numbers() -> None:
    assert not np.any(sfpu.exp_bfloat16(sampled(-90, 90)).view(np.uint32) & 0xFFFF)


def test_an_approximate_reciprocal_is_within_the_documented_bounds() -> None:
    x = np.concatenate([sampled(0.1, 1000), NORMAL_WORDS[np.abs(NORMAL_WORDS) < 2.0**126]])
    ratio = sfpu.reciprocal_approx(x) * x.astype(float)
    assert 0.9944 < ratio.min() < 0.9945 and 1.0053 < ratio.max() < 1.0054
    assert sfpu.reciprocal_approx(np.ones(1, np.float32))[0] == 0.99609375  # the documented case


def test_the_table_of_reciprocals_begins_and_ends_as_documented() -> None:
    x = (0x3F800000 + (np.array([0, 1, 2, 63, 64, 67, 126, 127]) << 16)).astype(np.uint32)
    entries = (np.array(bits(sfpu.reciprocal_approx(x.view(np.float32)))) >> 16) & 0x7F
    assert entries.tolist() == [127, 125, 123, 43, 42, 40, 1, 0]


def test_reciprocals_are_right_to_the_last_bit_of_their_format() -> None:
    def right(x: Array) -> Array:
        return np.asarray(1 / x)

    x = NORMAL_WORDS[np.abs(NORMAL_WORDS) < 2.0**126]
    assert off_by(sfpu.reciprocal_bfloat16, right, x) < 2.0**-8
    assert not np.any(sfpu.reciprocal_bfloat16(x).view(np.uint32) & 0xFFFF)
    assert off_by(sfpu.reciprocal_float32, right, sampled(1e-3, 1e3)) < 1.01 * 2.0**-24


@pytest.mark.parametrize(
    "function", [sfpu.reciprocal_approx, sfpu.reciprocal_bfloat16, sfpu.reciprocal_float32]
)
def test_reciprocals_of_zero_and_of_the_largest(function: Function) -> None:
    x = np.array([0.0, -0.0, 2.0**126, -np.inf], np.float32)
    assert bits(function(x)) == [0x7F800000, 0xFF800000, 0, 0x80000000]


@pytest.mark.parametrize(
    ("function", "power", "bound"),
    [
        (sfpu.sqrt_approx, 0.5, 0.0009),
        (sfpu.rsqrt_approx, -0.5, 0.0009),
        (sfpu.sqrt_float32, 0.5, 1.5 * 2.0**-24),
        (sfpu.rsqrt_float32, -0.5, 1.5 * 2.0**-24),
    ],
)
def test_roots_are_as_near_as_their_method_allows(
    function: Function, power: float, bound: float
) -> None:
    x = np.concatenate([sampled(0.01, 100), NORMAL_WORDS[NORMAL_WORDS > 0]])
    assert bound / 3 < off_by(function, lambda x: np.asarray(x**power), x) < bound
    at_ends = [0, np.inf] if power > 0 else [np.inf, 0]
    np.testing.assert_array_equal(function(np.array([0, np.inf], np.float32)), at_ends)
    assert np.isnan(function(np.array([-1, -np.inf, np.nan], np.float32))).all()


@pytest.mark.parametrize(
    ("function", "right", "bound"),
    [
        (sfpu.gelu_approx, lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2, 0.024),
        (sfpu.sigmoid_approx, lambda x: 1 / (1 + np.exp(-x)), 0.018),
        (sfpu.tanh_approx, np.tanh, 0.145),
    ],
)
def test_lines_follow_their_function(
    function: Function, right: Callable[[Array], Array], bound: float
) -> None:
    x = sampled(-10, 10)
    assert bound / 2 < np.abs(function(x) - right(x.astype(float))).max() < bound


def test_lines_have_the_written_slopes_and_offsets() -> None:
    x = np.array([0.25, 1.75, 5, -5], np.float32)
    sigmoid = [0.2452 * 0.25 - 0.0004997, 0.1262 * 1.75 + 0.1298, 0.4998, -0.4998]
    np.testing.assert_allclose(sfpu.sigmoid_approx(x) - 0.5, sigmoid, atol=2e-4)
    gelu = [0.1928 * 0.25 - 0.0001, 0.6099 * 1.75 - 0.2635, 2.5, 2.5]
    np.testing.assert_allclose(sfpu.gelu_approx(x) - x / 2, gelu, atol=2e-4)
    tanh = [0.90625 * 0.25, 0.09375 * 1.75 + 0.8125, 1, -1]
    assert sfpu.tanh_approx(x).tolist() == tanh


@pytest.mark.parametrize("function", UNARY, ids=lambda function: function.__name__)
@given(x=arrays(np.float32, (2, 3), elements=st.floats(width=32)))
def test_a_function_takes_any_number_element_by_element(function: Function, x: Array) -> None:
    out = function(x)
    assert out.shape == x.shape and out.dtype == np.float32
    np.testing.assert_array_equal(out.reshape(-1)[3:4], function(x.reshape(-1)[3:4]))
    assert not np.any((np.abs(out) > 0) & (np.abs(out) < 2.0**-126)), "a subnormal result"


@pytest.mark.parametrize("function", UNARY, ids=lambda function: function.__name__)
def test_subnormal_operands_are_zero(function: Function) -> None:
    x = np.array([1e-39, 0.0], np.float32)
    out = function(x)
    np.testing.assert_array_equal(out[:1], out[1:])
