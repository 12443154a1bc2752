import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError
from meshtwin.chip.tensor import Array


def angles(positions: int, width: int) -> Array:
    """The angles of a Llama model with theta 10000, both halves alike as in Hugging Face."""
    rates = 10000.0 ** (-np.arange(0, width, 2) / width)
    return np.tile(np.arange(positions)[:, None] * rates, 2)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("table_dtype", [DType.FLOAT32, DType.BFLOAT16])
def test_pairs_turn_as_complex_numbers_do(dtype: DType, table_dtype: DType) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.random.default_rng(0).standard_normal((2, 3, 5, 8)), dtype)
    turn = angles(5, 8)
    cos, sin = chip.tensor(np.cos(turn), table_dtype), chip.tensor(np.sin(turn), table_dtype)
    out = chip.rotary_embedding(x, cos, sin)
    x64 = x.to_float32().astype(float)
    pairs = (x64[..., :4] + 1j * x64[..., 4:]) * (cos.to_float32() + 1j * sin.to_float32())[:, :4]
    exact = np.concatenate([pairs.real, pairs.imag], axis=-1)
    assert (out.shape, out.dtype) == ((2, 3, 5, 8), dtype)
    assert np.allclose(out.to_float32(), exact, rtol=2.0**-8, atol=1e-6)


def test_tables_of_another_shape_and_odd_heads_are_refused() -> None:
    chip = Chip.open("p150")
    x, table = chip.tensor(np.zeros((1, 1, 2, 4))), chip.tensor(np.zeros((3, 4)))
    with pytest.raises(ShapeError, match=r"cos \(3, 4\), sin \(3, 4\) \(expected \(2, 4\) each"):
        chip.rotary_embedding(x, table, table)
    odd = chip.tensor(np.zeros((1, 1, 2, 3)))
    with pytest.raises(ShapeError, match="must be even, and no dim 0"):
        chip.rotary_embedding(odd, table, table)
    with pytest.raises(ShapeError, match="expected 4 dims"):
        chip.rotary_embedding(table, table, table)
