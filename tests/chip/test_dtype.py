from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import SAFETENSORS, DType
from meshtwin.chip.errors import DTypeError, InvalidArgument
from meshtwin.chip.formats.tile import tile_bytes
from meshtwin.chip.tensor import Layout, tensor_spec


def test_names_and_short_names_are_understood() -> None:
    assert DType.parse("bfloat16") is DType.parse("BF16") is DType.BFLOAT16
    assert DType.parse(DType.INT32) is DType.INT32


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        DTypeError, match=r"unknown dtype 'bfloat32': did you mean '\w+'\? Known: f"
    ):
        DType.parse("bfloat32")


def test_names_of_ttnn_mean_the_same_formats() -> None:
    for name in ("bfloat8_b", "bfp8_b", "bfp8", "bf8"):
        assert DType.parse(name) is DType.BFP8_B
    assert DType.parse("bfloat4_b") is DType.parse("bfp4") is DType.BFP4_B
    assert DType.parse("float8_e4m3fn") is DType.parse("fp8") is DType.FP8_E4M3
    assert DType.parse("u16") is DType.UINT16
    for dtype in DType:
        assert DType.parse(dtype.label) is dtype


def test_bfloat16_is_stored_as_words_of_16_bits() -> None:
    assert DType.BFLOAT16.numpy == np.uint16
    assert (DType.BFLOAT16.itemsize, DType.FLOAT32.itemsize) == (2, 4)
    integers = [dtype.label for dtype in DType if not dtype.is_float]
    assert integers == ["int32", "uint32", "int16", "uint16", "int8", "uint8"]


@pytest.mark.parametrize(
    ("dtype", "row", "tile"),
    [
        (DType.BFP8_B, 3 * 17, 1088),
        (DType.BFP4_B, 3 * 9, 576),
        (DType.BFP2_B, 3 * 5, 320),
        (DType.BFP8_A, 3 * 17, 1088),
        (DType.FP8_E4M3, 40, 1024),
        (DType.TF32, 160, 4096),
        (DType.UINT16, 80, 2048),
    ],
)
def test_a_format_knows_the_bytes_of_a_row_and_of_a_tile(dtype: DType, row: int, tile: int) -> None:
    assert dtype.row_bytes(40) == row
    assert dtype.num_bytes((2, 3, 40)) == 6 * row
    assert tile_bytes(dtype) == tile
    assert tensor_spec((2, 33, 40), dtype, Layout.TILE).padded_bytes == 2 * 4 * tile
    assert dtype.num_bytes(()) == dtype.row_bytes(1)


def test_a_block_float_lies_in_tiles_only() -> None:
    with pytest.raises(InvalidArgument, match=r"bfp4_b lies in tiles only"):
        tensor_spec((2, 3), DType.BFP4_B, Layout.ROW_MAJOR)


def test_words_of_safetensors_name_formats_of_the_same_size() -> None:
    for word, dtype in SAFETENSORS.items():
        bits = int("".join(filter(str.isdigit, word.split("_")[0])))
        assert 8 * dtype.itemsize == bits


def test_arrays_have_a_default_format() -> None:
    assert DType.of(np.zeros(1)) is DType.FLOAT32
    assert DType.of(np.zeros(1, np.int64)) is DType.INT32
    assert DType.of(np.zeros(1, np.uint32)) is DType.UINT32


@pytest.mark.parametrize("array", [np.zeros(1, np.uint16), np.zeros(1, bool), np.zeros(1, "U1")])
def test_arrays_that_could_mean_two_things_are_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(DTypeError, match=r"uint16 array: say|expected floats or integers"):
        DType.of(array)


@pytest.mark.parametrize("dtype", list(DType), ids=str)
def test_every_format_can_be_kept_moved_typecast_and_computed_with(dtype: DType) -> None:
    chip = Chip.open("p150")
    values = np.arange(6).reshape(2, 3) % 2  # exact in all of them
    x = chip.tensor(values, dtype)
    assert x.dtype is dtype
    assert chip.permute(x, (1, 0)).dtype is dtype
    np.testing.assert_array_equal(chip.permute(x, (1, 0)).to_numpy(), values.T)
    wide = chip.typecast(x, DType.FLOAT32)
    np.testing.assert_array_equal(wide.to_numpy(), values)
    again = chip.typecast(wide, dtype)
    np.testing.assert_array_equal(again.to_numpy(), x.to_numpy())
    twice = chip.add(x, x)
    assert twice.dtype is dtype
    np.testing.assert_array_equal(twice.to_numpy(), 2 * values)
    assert dtype.computes == (dtype.label in ("float32", "bfloat16", "int32", "uint32"))
