from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from meshtwin.models.weights_writer import write_weights


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
