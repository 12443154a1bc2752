"""Storage of every format: what goes in comes back, and foreign types are read by their bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError
from meshtwin.chip.formats.codec import decode, encode, pack, saturate, unpack

FLOATS = [dtype for dtype in DType if dtype.is_float]
BLOCKS = [dtype for dtype in DType if dtype.block]
INTEGERS = [dtype for dtype in DType if not dtype.is_float]

shapes = st.lists(st.integers(0, 35), max_size=3).map(tuple)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@given(shape=shapes, seed=st.integers(0, 99))
def test_what_was_stored_comes_back_and_is_stored_again_as_it_is(
    dtype: DType, shape: tuple[int, ...], seed: int
) -> None:
    given_in = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    storage = encode(given_in, dtype)
    assert storage.shape == dtype.storage_shape(shape)
    assert storage.dtype == dtype.numpy
    values = decode(storage, dtype, shape)
    assert values.dtype == np.float32 and values.shape == shape
    assert encode(values, dtype).tobytes() == storage.tobytes()
    exact_in_packer = dtype.block and dtype.block.exponent_bias == 127  # no denormals, no -0
    for rounding in ("nearest_even", "packer") if exact_in_packer else ("nearest_even",):
        assert pack(unpack(storage, dtype, shape), dtype, rounding).tobytes() == storage.tobytes()


@pytest.mark.parametrize("dtype", BLOCKS, ids=str)
@given(values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=40))
def test_a_block_float_is_off_by_half_a_step_of_its_block_at_most(
    dtype: DType, values: list[float]
) -> None:
    assert dtype.block is not None
    given_in = np.array(values, np.float32)
    found = decode(encode(given_in, dtype), dtype, given_in.shape)
    for start in range(0, len(values), 16):
        block, kept = given_in[start : start + 16], found[start : start + 16]
        step = 2.0 ** (np.frexp(np.abs(block).max())[1] - dtype.block.magnitude_bits)
        room = np.abs(block).max() - (2 - 2.0 ** (1 - dtype.block.magnitude_bits)) * step
        least = 2.0**-14 if dtype.block.exponent_bias == 15 else 2.0**-126
        assert np.abs(block - kept).max() <= max(step, room, least)


def test_the_rows_of_a_block_float_are_exponents_then_magnitudes() -> None:
    row = np.zeros((1, 20), np.float32)
    row[0, [0, 1, 16, 17]] = [1.0, -0.5, 4.0, 3.0]
    exponents = [127, 129]
    bfp8 = [64, 0x80 | 32, *[0] * 14, 64, 48, *[0] * 14]
    assert encode(row, DType.BFP8_B).tolist() == [exponents + bfp8]
    bfp4 = [4 | (8 | 2) << 4, *[0] * 7, 4 | 3 << 4, *[0] * 7]
    assert encode(row, DType.BFP4_B).tolist() == [exponents + bfp4]
    bfp2 = [1, *[0] * 3, 1 | 1 << 2, *[0] * 3]
    assert encode(row, DType.BFP2_B).tolist() == [exponents + bfp2]
    assert encode(row, DType.BFP8_A).tolist() == [[15, 17, *bfp8]]


def test_a_sign_without_a_magnitude_is_infinity_to_the_unpacker_alone() -> None:
    storage = np.zeros(17, np.uint8)
    storage[:2] = 127, 0x80
    assert unpack(storage, DType.BFP8_B, (16,))[0] == 0xFF80
    assert np.signbit(decode(storage, DType.BFP8_B)[0])
    assert decode(storage, DType.BFP8_B).tolist() == [0] * 16


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_keep_within_their_range_wrap_when_packed_and_stop_when_cast(
    dtype: DType,
) -> None:
    bounds = np.iinfo(dtype.numpy)
    ends = np.array([bounds.min, bounds.max])
    assert decode(encode(ends, dtype), dtype).tolist() == ends.tolist()
    with pytest.raises(DTypeError, match=rf"values .* as {dtype.label}"):
        encode(ends + 1, dtype)
    with pytest.raises(DTypeError, match="expected integers"):
        encode(np.ones(3), dtype)
    wide = unpack(encode(ends, dtype), dtype, (2,))
    assert wide.dtype == dtype.computed_as.numpy
    assert pack(wide + wide.dtype.type(1), dtype).tolist()[0] == bounds.min + 1
    found = saturate(np.array([-1e20, 1e20, np.nan, -0.9], np.float32), dtype)
    assert found.tolist() == [bounds.min, bounds.max, 0, 0]


def test_every_code_of_fp8_e4m3_has_its_value() -> None:
    codes = np.arange(256, dtype=np.uint8)
    values = decode(encode(codes, DType.FP8_E4M3), DType.FP8_E4M3)
    for code in range(127):
        exponent, mantissa = code >> 3, code & 7
        wanted = (8 + mantissa) / 8 * 2.0 ** (exponent - 7) if exponent else mantissa / 8 * 2.0**-6
        assert (values[code], values[code + 128]) == (wanted, -wanted)
    assert np.isnan(values[[127, 255]]).all()


def test_types_of_ml_dtypes_are_read_by_their_bits() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    halves = np.array([1.5, -2.5], ml_dtypes.bfloat16)
    assert encode(halves, DType.INT8, "truncate").tolist() == [1, -2]
    numbers = np.array([1.5, -2, 0.1, 448], np.float32)
    for kind, dtype in (
        (ml_dtypes.bfloat16, DType.BFLOAT16),
        (ml_dtypes.float8_e4m3fn, DType.FP8_E4M3),
    ):
        foreign = numbers.astype(kind)
        assert DType.of(foreign) is dtype
        storage = encode(foreign, dtype)
        assert storage.tobytes() == foreign.tobytes() == encode(numbers, dtype).tobytes()
        assert encode(foreign, DType.FLOAT32).tolist() == foreign.astype(np.float32).tolist()
        assert storage.view(kind).tolist() == foreign.tolist()
        with pytest.raises(DTypeError, match=rf"an array of {dtype.label} as int32"):
            encode(foreign, DType.INT32)
    other = numbers.astype(ml_dtypes.float8_e5m2)
    assert encode(other, DType.FLOAT32).tolist() == other.astype(np.float32).tolist()
