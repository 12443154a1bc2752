from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from meshtwin.models.weights_writer import round_to_bfloat16, write_weights


def widened(word: int) -> float:
    return float(np.array([word << 16], np.uint32).view(np.float32)[0])


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounding_takes_the_nearest_word_and_the_even_one_of_two(value: float) -> None:
    x = np.array([value], np.float32)
    word = int(round_to_bfloat16(x)[0])
    under = int(x.view(np.uint32)[0]) >> 16  # towards zero
    # Beyond the largest bfloat16 the next word is infinity, which stands for 2^128 here.
    steps = [abs(w) if np.isfinite(w) else 2.0**128 for w in map(widened, (under, under + 1))]
    down, up = abs(value) - steps[0], steps[1] - abs(value)
    expected = under if down < up or (down == up and under % 2 == 0) else under + 1
    assert word == expected


@given(st.integers(0x7F800001, 0x7FFFFFFF), st.booleans())
def test_rounding_keeps_nan_a_quiet_nan(bits: int, is_negative: bool) -> None:
    x = np.array([bits | (is_negative << 31)], np.uint32).view(np.float32)
    word = int(round_to_bfloat16(x)[0])
    assert word & 0x7FC0 == 0x7FC0
    assert word >> 15 == is_negative


def test_rounding_keeps_infinity_and_signed_zero() -> None:
    x = np.array([np.inf, -np.inf, 0.0, -0.0], np.float32)
    assert round_to_bfloat16(x).tolist() == [0x7F80, 0xFF80, 0, 0x8000]


def test_the_safetensors_library_reads_what_is_written(tmp_path: Path) -> None:
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(5, np.float32)}
    shapes = {name: array.shape for name, array in arrays.items()}
    write_weights(tmp_path / "x.safetensors", "F32", shapes, iter(arrays.values()))
    read = load_file(tmp_path / "x.safetensors")
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_an_array_of_another_shape_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a: expected shape \[2, 3\], got \[3, 2\]"):
        write_weights(tmp_path / "x", "F32", {"a": (2, 3)}, [np.zeros((3, 2), np.float32)])
    with pytest.raises(ValueError, match="shorter"):
        write_weights(tmp_path / "x", "F32", {"a": (2, 3)}, [])
    with pytest.raises(ValueError, match="F64"):
        write_weights(tmp_path / "x", "F64", {}, [])
