import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument
from meshtwin.chip.memory.config import MemoryConfig
from meshtwin.chip.tensor import Layout, Tensor, decode, encode, tensor_spec

LARGEST = float(np.finfo(np.float32).max)

# float32 bits and the bfloat16 word that ttnn 0.81.1 makes of them (from_torch, on a host)
TTNN_BFLOAT16 = [
    (0xB6408000, 0xB640),  # a tie, down to even
    (0xD4338000, 0xD434),  # a tie, up to even
    (0x46018000, 0x4602),
    (0x00607272, 0x0060),  # denormals stay
    (0x8002E47B, 0x8003),
    (0x80000000, 0x8000),
    (0x7F7FFFFF, 0x7F80),  # the largest float rounds to infinity
    (0xFF800000, 0xFF80),
    (0x7F800001, 0x7FC0),  # every NaN becomes one
    (0xFFC00001, 0x7FC0),
    (0x7FBFFFFF, 0x7FC0),
]


def test_bfloat16_words_are_those_of_ttnn() -> None:
    bits, words = zip(*TTNN_BFLOAT16, strict=True)
    floats = np.array(bits, np.uint32).view(np.float32)
    assert encode(floats, DType.BFLOAT16).tolist() == list(words)


@given(st.floats(-LARGEST, LARGEST, width=32))
def test_rounding_takes_the_nearest_bfloat16_and_the_even_one_of_two(value: float) -> None:
    word = int(encode(np.array([value], np.float32), DType.BFLOAT16)[0])

    def exact(candidate: int) -> Fraction:
        if candidate & 0x7FFF == 0x7F80:  # infinity stands for the next power of two
            return Fraction(2) ** 128 * (-1 if candidate >> 15 else 1)
        return Fraction(float(np.array([candidate << 16], np.uint32).view(np.float32)[0]))

    error = abs(exact(word) - Fraction(value))
    for other in (word - 1, word + 1):
        if 0 <= other <= 0xFFFF and other & 0x7FFF <= 0x7F80 and other >> 15 == word >> 15:
            distance = abs(exact(other) - Fraction(value))
            assert error < distance or (error == distance and word % 2 == 0)


@given(st.lists(st.integers(0, 0xFFFF), max_size=40))
def test_decoding_then_encoding_gives_the_same_words_but_for_nan(words: list[int]) -> None:
    array = np.array(words, np.uint16)
    wide = decode(array, DType.BFLOAT16)
    assert wide.dtype == np.float32
    back = encode(wide, DType.BFLOAT16)
    assert back.tolist() == np.where(np.isnan(wide), 0x7FC0, array).tolist()


def test_encoding_keeps_scalars_and_makes_strided_arrays_contiguous() -> None:
    assert encode(np.float32(1.5), DType.BFLOAT16).shape == ()
    turned = encode(np.arange(6, dtype=np.float32).reshape(2, 3).T, DType.FLOAT32)
    assert turned.flags.c_contiguous
    assert turned.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_integers_beyond_the_range_and_floats_as_integers_are_refused() -> None:
    with pytest.raises(DTypeError, match=r"values 0 \.\. 2147483648 as int32"):
        encode(np.array([0, 2**31]), DType.INT32)
    with pytest.raises(DTypeError, match="expected integers"):
        encode(np.array([0.5]), DType.UINT32)
    assert encode(np.array([], np.int64), DType.UINT32).dtype == np.uint32


@pytest.mark.parametrize(
    ("shape", "padded"),
    [
        ((1, 1, 576), 32 * 576),
        ((33, 33), 64 * 64),
        ((5,), 32 * 32),
        ((), 32 * 32),
        ((3, 2, 32), 3 * 1024),
    ],
)
def test_tiles_pad_the_last_two_dims(shape: tuple[int, ...], padded: int) -> None:
    tiled = tensor_spec(shape, DType.BFLOAT16)
    assert (tiled.layout, tiled.padded_bytes) == (Layout.TILE, 2 * padded)
    assert tiled.num_tiles * 1024 == padded
    rows = tensor_spec(shape, DType.BFLOAT16, Layout.ROW_MAJOR)
    assert rows.padded_bytes == rows.nbytes == 2 * int(np.prod(shape))


def test_equal_specs_are_one_object_also_after_pickling() -> None:
    spec = tensor_spec((2, 3), DType.INT32)
    assert spec is tensor_spec((2, 3), DType.INT32, Layout.ROW_MAJOR, MemoryConfig.DRAM)
    assert pickle.loads(pickle.dumps(spec)) is spec
    with pytest.raises(InvalidArgument, match="no negative dim"):
        tensor_spec((2, -3), DType.INT32)


def test_a_pickled_tensor_keeps_its_values_and_leaves_its_dram_behind() -> None:
    spec = tensor_spec((2,), DType.BFLOAT16)
    tensor = Tensor(spec, np.array([0x3F80, 0xC000], np.uint16), None)
    back: Tensor = pickle.loads(pickle.dumps(tensor))
    assert back.spec is spec
    assert back.to_numpy().tolist() == [1.0, -2.0]
    assert back.allocation is None


def test_a_tensor_tells_its_shape_format_and_place() -> None:
    tensor = Tensor(tensor_spec((2, 3), DType.FLOAT32, memory=MemoryConfig.L1), None, None)
    assert (tensor.shape, tensor.dtype, tensor.layout) == ((2, 3), DType.FLOAT32, Layout.TILE)
    assert (tensor.memory, tensor.nbytes, tensor.padded_bytes) == (MemoryConfig.L1, 24, 4096)
    assert repr(tensor) == "Tensor(float32[2, 3], tile, plan)"


def test_a_plan_has_no_values_and_integers_are_no_floats() -> None:
    spec = tensor_spec((2,), DType.INT32)
    with pytest.raises(InvalidArgument, match="made in plan mode"):
        Tensor(spec, None, None).to_numpy()
    with pytest.raises(DTypeError, match="to_float32 of int32"):
        Tensor(spec, np.zeros(2, np.int32), None).to_float32()
