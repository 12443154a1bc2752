from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from meshtwin.chip.compute_config import Fidelity
from meshtwin.chip.dtype import DType
from meshtwin.chip.fidelity import Side, attention_operands, lower, operands, upper, whole
from meshtwin.chip.tensor import Array, decode, encode

from .bits import ACTIVATION_BITS, TF32_ACTIVATION_BITS, TF32_WEIGHT_BITS, WEIGHT_BITS, kept

SIDES: tuple[tuple[Side, int, int], ...] = (
    ("a", WEIGHT_BITS, TF32_WEIGHT_BITS),
    ("b", ACTIVATION_BITS, TF32_ACTIVATION_BITS),
)
sides = pytest.mark.parametrize(("side", "upper_bits", "all_bits"), SIDES)
normal_floats = arrays(
    np.float32, 40, elements=st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
)


def words(values: Array) -> Array:
    return encode(values, DType.BFLOAT16)


def value(x: Array) -> Array:
    return decode(x, DType.BFLOAT16 if x.dtype == np.uint16 else DType.FLOAT32).astype(float)


def block_float(magnitude_bits: int) -> Array:
    """Every number of a block format, with a few exponents; all are bfloat16 numbers."""
    most = 2**magnitude_bits
    numbers = np.arange(1 - most, most)[:, None] * 2.0 ** np.array([-30, -6, 0, 7])
    return words(numbers)


@sides
@given(x=normal_floats)
def test_parts_are_the_leading_bits_cut_toward_zero(
    side: Side, upper_bits: int, all_bits: int, x: Array
) -> None:
    np.testing.assert_array_equal(value(upper(x, side)), kept(x, upper_bits))
    np.testing.assert_array_equal(value(whole(x, side)), kept(x, all_bits))
    np.testing.assert_array_equal(value(lower(x, side)), kept(x, all_bits) - kept(x, upper_bits))


@sides
@given(x=normal_floats)
def test_words_are_cut_as_the_float32_numbers_they_stand_for(
    side: Side, upper_bits: int, all_bits: int, x: Array
) -> None:
    given_words = words(x)
    wide = value(given_words).astype(np.float32)
    assert whole(given_words, side) is given_words
    for cut in (upper, lower, whole):
        assert cut(given_words, side).dtype == np.uint16
        np.testing.assert_array_equal(value(cut(given_words, side)), value(cut(wide, side)))


def test_a_part_is_the_documented_mask_of_the_float32_bits() -> None:
    ones = np.array([0x3FFFFFFF, 0xBFFFFFFF], np.uint32).view(np.float32)
    for side, kept_bits in (("a", 0x3FF80000), ("b", 0x3FFE0000)):
        assert upper(ones, _side(side)).view(np.uint32).tolist() == [
            kept_bits,
            kept_bits | 0x80000000,
        ]
    x = ones[:1]
    assert (x - lower(x, "a")).view(np.uint32) == 0x3FF83FFF  # as the documented complement
    assert (x - lower(x, "b")).view(np.uint32) == 0x3FFE1FFF


def _side(name: str) -> Side:
    side: Literal["a", "b"] = "a" if name == "a" else "b"
    return side


@pytest.mark.parametrize("magnitude_bits", [1, 3], ids=["bfp2", "bfp4"])
def test_narrow_block_floats_are_whole_in_phase_0(magnitude_bits: int) -> None:
    x = block_float(magnitude_bits)
    for side in ("a", "b"):
        np.testing.assert_array_equal(upper(x, _side(side)), x)


def test_fp8_is_whole_in_phase_0() -> None:
    fractions = 1 + np.arange(8) / 8
    x = words(fractions[:, None] * 2.0 ** np.arange(-9, 9))
    np.testing.assert_array_equal(upper(x, "a"), x)
    np.testing.assert_array_equal(upper(x, "b"), x)


def test_bfp8_is_whole_in_phase_0_as_activations_and_in_two_phases_as_weights() -> None:
    x = block_float(7)
    np.testing.assert_array_equal(upper(x, "b"), x)
    assert (upper(x, "a") != x).any()
    ((_, weights),) = operands(Fidelity.HIFI2, x, x)
    np.testing.assert_array_equal(weights, x)


def test_bfloat16_is_whole_in_four_phases_and_lacks_a_bit_of_in0_in_two() -> None:
    x = np.arange(0x3F80, 0x4000).astype(np.uint16)
    ((in0, in1),) = operands(Fidelity.HIFI4, x, x)
    assert in0 is x and in1 is x
    ((in0, in1),) = operands(Fidelity.HIFI2, x, x)
    np.testing.assert_array_equal(in0, x & 0xFFFE)
    assert in1 is x


def test_exact_takes_every_bit_of_float32() -> None:
    x = np.array([1 + 2.0**-23], np.float32)
    ((in0, in1),) = operands(Fidelity.EXACT, x, x)
    assert in0 is x and in1 is x
    ((in0, in1),) = operands(Fidelity.HIFI4, x, x)
    assert in0 == in1 == 1


def test_the_last_bit_of_tf32_weights_is_never_used() -> None:
    x = np.array([1 + 2.0**-10], np.float32)
    ((in0, in1),) = operands(Fidelity.HIFI4, x, x)
    assert (in0[0], in1[0]) == (1 + 2.0**-10, 1)


@given(x=normal_floats, y=normal_floats)
def test_hifi3_lacks_only_the_product_of_the_lower_parts(x: Array, y: Array) -> None:
    def total(fidelity: Fidelity) -> Array:
        pairs = operands(fidelity, words(x), words(y))
        return np.asarray(sum(value(in0) * value(in1) for in0, in1 in pairs))

    missing = value(lower(words(x), "b")) * value(lower(words(y), "a"))
    np.testing.assert_array_equal(total(Fidelity.HIFI4) - missing, total(Fidelity.HIFI3))


def test_attention_masks_queries_as_activations_and_keys_and_values_as_weights() -> None:
    q, k, v = (words(np.full(4, 1 + 127 / 128) * 2.0**power) for power in range(3))
    for fidelity in Fidelity:
        in0, keys, values = attention_operands(fidelity, q, k, v)
        if fidelity in (Fidelity.LOFI, Fidelity.HIFI2):
            np.testing.assert_array_equal(in0, upper(q, "b"))
        else:
            assert in0 is q
        for masked, plain in ((keys, k), (values, v)):
            expected = upper(plain, "a") if fidelity is Fidelity.LOFI else plain
            np.testing.assert_array_equal(masked, expected)


def test_infinity_and_nan_have_no_lower_part() -> None:
    x = np.array([np.inf, -np.inf, np.nan], np.float32)
    assert not lower(x, "b").any()
    assert not lower(words(x), "b").any()
    np.testing.assert_array_equal(upper(x, "a"), x)
