import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument
from meshtwin.chip.ops.erf import erf, erfc
from meshtwin.chip.tensor import Array, decode, encode

EVERY = np.arange(1 << 16, dtype=np.uint32).astype(np.uint16)
with np.errstate(all="ignore"):  # signalling NaN
    NUMBERS = decode(EVERY, DType.BFLOAT16).astype(np.float64)


def rounded(values: Array) -> Array:
    """To float32, then to bfloat16, as words."""
    with np.errstate(all="ignore"):
        return encode(np.asarray(values).astype(np.float32), DType.BFLOAT16)


@pytest.mark.parametrize("name", ["exp", "tanh", "sin", "sqrt", "floor", "log1p", "square"])
def test_every_bfloat16_number_gives_the_nearest_but_for_double_rounding(name: str) -> None:
    chip = Chip.open("p150")
    out = getattr(chip, name)(chip.tensor(EVERY, DType.BFLOAT16))
    with np.errstate(all="ignore"):
        expected = rounded(getattr(np, name)(NUMBERS))
    assert np.array_equal(out.storage, expected)


@given(st.floats(-30, 30))
def test_the_error_function_is_the_standard_library_s(x: float) -> None:
    assert erf(np.array(x)) == pytest.approx(math.erf(x), rel=1e-12, abs=1e-300)
    assert erfc(np.array(x)) == pytest.approx(math.erfc(x), rel=1e-11, abs=1e-290)


def test_the_error_function_keeps_its_digits_near_zero() -> None:
    assert erf(np.array([1e-30])) == pytest.approx(2 / math.sqrt(math.pi) * 1e-30, rel=1e-12)


def test_integers_wrap_where_the_sign_has_no_room() -> None:
    chip = Chip.open("p150")
    least = chip.tensor(np.array([-(2**31), 7]))
    assert chip.abs(least).to_numpy().tolist() == [-(2**31), 7]
    assert chip.neg(chip.tensor(np.array([1], np.uint32))).to_numpy().tolist() == [2**32 - 1]
    assert chip.clamp(least, -5).to_numpy().tolist() == [-5, 7]
    with pytest.raises(DTypeError, match="exp: x is int32"):
        chip.exp(least)


def test_bounds_the_wrong_way_round_are_refused() -> None:
    chip = Chip.open("p150", rank=3)
    with pytest.raises(
        InvalidArgument,
        match=r"chip 3, clamp: min \(=2\) must not be above max \(=1\) \(nearest: 1\)",
    ):
        chip.clamp(chip.tensor(np.zeros(2)), 2, 1)


def test_many_exponents_need_no_more_memory_than_a_few() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([2.0]), "bfloat16")
    for exponent in range(100):
        assert chip.pow(x, exponent).to_numpy() == 2.0**exponent
    assert chip.pow(x, 3).to_numpy() == 8
