import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("shape", [(1, 1, 576), (3, 50), (7,), (2, 0, 8)])
def test_rms_norm_agrees_with_float64(shape: tuple[int, ...], dtype: DType) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    x = chip.tensor(10 * rng.standard_normal(shape), dtype)
    weight = chip.tensor(rng.standard_normal(shape[-1]), dtype)
    out = chip.rms_norm(x, weight, 1e-5)
    x64 = x.to_float32().astype(float)
    root = np.sqrt(np.mean(x64**2, axis=-1, keepdims=True) + 1e-5)
    exact = x64 / root * weight.to_float32()
    assert (out.shape, out.dtype) == (shape, dtype)
    assert np.allclose(out.to_float32(), exact, rtol=2.0**-8 if dtype is DType.BFLOAT16 else 1e-6)


def test_a_row_of_zeros_stays_zero_by_eps() -> None:
    chip = Chip.open("p150")
    x, weight = chip.tensor(np.zeros((1, 4)), "bf16"), chip.tensor(np.ones(4), "bf16")
    assert chip.rms_norm(x, weight, 1e-6).to_numpy().tolist() == [[0, 0, 0, 0]]


def test_a_weight_of_another_length_is_refused() -> None:
    chip = Chip.open("p150")
    with pytest.raises(ShapeError, match=r"rms_norm: x \(2, 4\) with weight \(3,\)"):
        chip.rms_norm(chip.tensor(np.zeros((2, 4))), chip.tensor(np.zeros(3)), 1e-5)
