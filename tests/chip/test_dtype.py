from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError


def test_names_and_short_names_are_understood() -> None:
    assert DType.parse("bfloat16") is DType.parse("BF16") is DType.BFLOAT16
    assert DType.parse(DType.INT32) is DType.INT32


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        DTypeError, match=r"unknown dtype 'bfloat32': did you mean '\w+'\? Known: f"
    ):
        DType.parse("bfloat32")


def test_bfloat16_is_stored_as_words_of_16_bits() -> None:
    assert DType.BFLOAT16.numpy == np.uint16
    assert (DType.BFLOAT16.itemsize, DType.FLOAT32.itemsize) == (2, 4)
    assert [dtype.label for dtype in DType if dtype.is_float] == ["float32", "bfloat16", "float16"]


def test_arrays_have_a_default_format() -> None:
    assert DType.of(np.zeros(1)) is DType.FLOAT32
    assert DType.of(np.zeros(1, np.int64)) is DType.INT32
    assert DType.of(np.zeros(1, np.uint32)) is DType.UINT32


@pytest.mark.parametrize("array", [np.zeros(1, np.uint16), np.zeros(1, bool), np.zeros(1, "U1")])
def test_arrays_that_could_mean_two_things_are_refused(array: npt.NDArray[Any]) -> None:
    with pytest.raises(DTypeError, match=r"uint16 array: say|expected floats or integers"):
        DType.of(array)


def test_formats_that_are_not_computed_with_can_be_kept_moved_and_typecast() -> None:
    chip = Chip.open("p150")
    for dtype in (DType.FLOAT16, DType.INT8, DType.UINT8):
        assert not dtype.computes
        x = chip.tensor(np.arange(6).reshape(2, 3), dtype)
        assert chip.permute(x, (1, 0)).dtype is dtype
        wide = chip.typecast(x, DType.FLOAT32)
        np.testing.assert_array_equal(wide.to_numpy(), np.arange(6).reshape(2, 3))
        again = chip.typecast(wide, dtype)
        np.testing.assert_array_equal(again.to_numpy(), x.to_numpy())
        with pytest.raises(DTypeError, match=r"typecast it to float32, bfloat16, int32"):
            chip.add(x, x)
