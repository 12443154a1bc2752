import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meshtwin.chip import special
from meshtwin.chip.tensor import Array

any_bits = arrays(np.uint32, 50, elements=st.integers(0, 2**32 - 1))


def floats(*bits: int) -> Array:
    return np.array(bits, np.uint32).view(np.float32)


@given(any_bits)
def test_flush_makes_zeros_of_subnormals_and_leaves_the_rest(bits: Array) -> None:
    out = special.flush(bits.view(np.float32)).view(np.uint32)
    is_subnormal = (bits & 0x7F800000) == 0
    np.testing.assert_array_equal(out[~is_subnormal], bits[~is_subnormal])
    np.testing.assert_array_equal(out[is_subnormal], bits[is_subnormal] & 0x80000000)


@given(any_bits)
def test_words_are_flushed_as_their_float32_numbers(bits: Array) -> None:
    words = (bits >> 16).astype(np.uint16)
    wide = (words.astype(np.uint32) << 16).view(np.float32)
    out = special.flush(wide).view(np.uint32)
    np.testing.assert_array_equal(special.flush(words), out >> 16)


def test_exponent_255_is_a_number_and_a_subnormal_none() -> None:
    x = floats(0x7F800000, 0xFF800000, 0x7FC00000, 0x007FFFFF, 0x80000000, 0x40490FDB)
    expected = [2.0**128, -(2.0**128), 1.5 * 2**128, 0, 0, float(np.float32(np.pi))]
    assert special.numbers(x).tolist() == expected


def test_sums_beyond_float32_are_infinite_and_tiny_ones_plain_zero() -> None:
    out = special.saturate(np.array([2.0**128, -(2.0**200), -(2.0**-127), -0.0, 1.5, 2.0**-126]))
    assert out.view(np.uint32).tolist() == [0x7F800000, 0xFF800000, 0, 0, 0x3FC00000, 0x00800000]


@given(any_bits)
def test_the_packer_rounds_ties_away_from_zero(bits: Array) -> None:
    x = bits.view(np.float32)
    words = special.pack(x, to_words=True)
    out = (words.astype(np.uint32) << 16).view(np.float32).astype(float)
    is_normal = np.isfinite(x) & (np.abs(x) >= special.TINY)
    exact = x[is_normal].astype(float)
    _, exponent = np.frexp(exact)
    step = np.ldexp(1.0, exponent - 8)
    away = np.sign(exact) * np.floor(np.abs(exact) / step + 0.5) * step
    with np.errstate(over="ignore"):
        away = away.astype(np.float32).astype(float)  # what rounds up to 2**128 is inf
    np.testing.assert_array_equal(out[is_normal], away)


def test_the_packer_has_no_nan_no_minus_zero_and_no_subnormals() -> None:
    x = floats(0x7FC00000, 0xFFC00001, 0x7F800001, 0xFF800000, 0x80000000, 0x807FFFFF, 0x00000001)
    words = [0x7F80, 0xFF80, 0x7F80, 0xFF80, 0, 0, 0]
    assert special.pack(x, to_words=True).tolist() == words
    assert special.pack(x, to_words=False) is x
