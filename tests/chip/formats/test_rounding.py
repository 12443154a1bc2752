"""The two roundings against exact arithmetic, and where they part."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.formats.codec import decode, encode
from meshtwin.chip.formats.rounding import Rounding, round_away, round_tf32

LARGEST = float(np.float32(3.0e38))
normal = st.floats(-LARGEST, LARGEST, width=32, allow_subnormal=False)
BLOCKS = {DType.BFP8_B: 7, DType.BFP4_B: 3, DType.BFP2_B: 1}


def one(value: float, dtype: DType, rounding: str = "nearest_even") -> float:
    """What is left of a number."""
    return float(decode(encode(np.array([value], np.float32), dtype, rounding), dtype, (1,))[0])


def test_floats_are_truncated_to_integers_only_and_integers_stay() -> None:
    chip, plan = Chip.open("p150"), Chip.open("p150", plan=True)
    found = chip.tensor(np.array([-1.9, 2.5, np.nan]), "int32", rounding="truncate")
    assert found.to_numpy().tolist() == [-1, 2, -(2**31)]
    assert encode(np.array([2**24 + 1]), DType.INT32, "truncate").tolist() == [2**24 + 1]
    for mode in (chip, plan):
        with pytest.raises(InvalidArgument, match="rounding='truncate' is for integer formats"):
            mode.tensor(np.zeros(3), "bf16", rounding="truncate")
        with pytest.raises(InvalidArgument, match="typecast: rounding='truncate'"):
            mode.typecast(mode.tensor(np.zeros(3)), "bf16", "truncate")


def bfloat16(value: float) -> float:
    """Cut off what bfloat16 has no room for."""
    bits = np.array([value], np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return float(bits.view(np.float32)[0])


@pytest.mark.parametrize(("kept", "dtype"), [(10, DType.TF32), (7, DType.BFLOAT16)])
@given(value=normal)
def test_the_packer_takes_the_nearest_and_of_two_the_larger(
    kept: int, dtype: DType, value: float
) -> None:
    found = one(value, dtype, "packer")
    exponent = int(np.frexp(np.float32(value))[1]) - 1
    step = Fraction(2) ** (exponent - kept)
    exact = abs(Fraction(value)) / step
    wanted = step * int(exact + Fraction(1, 2))
    if wanted >= Fraction(2) ** 128:
        assert abs(found) == np.inf
    else:
        assert Fraction(found) == (wanted if value >= 0 else -wanted)


@pytest.mark.parametrize("dtype", BLOCKS, ids=str)
@given(values=st.lists(normal, min_size=16, max_size=16))
def test_the_packers_block_floats_are_cut_from_bfp8_of_bfloat16(
    dtype: DType, values: list[float]
) -> None:
    array = np.array(values, np.float32)
    found = decode(encode(array, dtype, Rounding.PACKER), dtype)
    cut = [bfloat16(value) for value in values]
    shared = max(int(np.frexp(value)[1]) - 1 for value in cut if value) if any(cut) else 0
    for value, got in zip(cut, found.tolist(), strict=True):
        magnitude = min(
            127, int(abs(Fraction(value)) / Fraction(2) ** (shared - 6) + Fraction(1, 2))
        )
        magnitude >>= 7 - BLOCKS[dtype]
        wanted = magnitude * Fraction(2) ** (shared - BLOCKS[dtype] + 1)
        if not np.isfinite(got):
            assert wanted >= Fraction(2) ** 128
        else:
            assert Fraction(got) == (wanted if value >= 0 else -wanted)


def test_ties_go_to_even_on_the_host_and_away_in_the_packer() -> None:
    tie = 1 + 2.0**-8  # between two bfloat16 numbers
    assert one(tie, DType.BFLOAT16) == 1
    assert one(tie, DType.BFLOAT16, "packer") == 1 + 2.0**-7
    tie = 1 + 2.0**-7  # between two magnitudes of bfp8
    assert one(tie, DType.BFP8_B) == 1
    assert one(tie, DType.BFP8_B, "packer") == 1 + 2.0**-6
    assert one(1.875, DType.BFP4_B) == 1.75  # the largest magnitude
    assert one(1.49, DType.BFP4_B) == 1.5
    assert one(1.49, DType.BFP4_B, "packer") == 1.25


def test_the_packer_that_rounds_twice_lands_farther_off() -> None:
    pair = np.array([1.0, 16.375 / 64], np.float32)  # E8M6 makes it 16.5 / 64: a tie that was none
    once, twice = (
        decode(encode(pair, DType.BFP8_B, rounding), DType.BFP8_B, (2,))
        for rounding in ("packer", "packer_twice")
    )
    assert (64 * once).tolist() == [64, 16]
    assert (64 * twice).tolist() == [64, 17]


def test_the_packer_has_no_denormals_no_minus_zero_and_no_nan() -> None:
    given_in = np.array([1e-40, -1e-40, -0.0, np.nan, -np.inf], np.float32)
    found = decode(encode(given_in, DType.BFLOAT16, "packer"), DType.BFLOAT16)
    assert found.tolist() == [0, 0, 0, np.inf, -np.inf]
    assert not np.signbit(found[:3]).any()
    assert one(2.0**-15, DType.FLOAT16, "packer") == 0
    assert one(65520.0, DType.FLOAT16, "packer") == np.inf
    assert one(1e9, DType.FP8_E4M3, "packer") == 448


@given(normal)
def test_tf32_keeps_ten_bits_to_nearest_even(value: float) -> None:
    found = round_tf32(np.array([value], np.float32))
    assert not (found.view(np.uint32) & np.uint32(0x1FFF)).any()
    wide = np.float64(value)
    exponent = int(np.frexp(wide)[1]) - 1
    wanted = np.ldexp(np.rint(np.ldexp(wide, 10 - exponent)), exponent - 10)
    assert float(found[0]) == wanted or abs(wanted) >= 2.0**128
    assert np.isnan(round_tf32(np.array([np.nan], np.float32))[0])


@given(normal)
def test_rounding_away_twice_changes_nothing_more(value: float) -> None:
    once = round_away(np.array([value], np.float32), 7)
    assert round_away(once, 7).tobytes() == once.tobytes()


def test_another_rounding_is_refused_with_those_there_are() -> None:
    with pytest.raises(InvalidArgument, match=r"rounding \(='up'\) must be one of 'nearest_even'"):
        Rounding.parse("up")
    assert Rounding.parse(Rounding.PACKER) is Rounding.PACKER
