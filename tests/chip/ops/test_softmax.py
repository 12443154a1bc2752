import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize("dim", [-1, 0, 1])
def test_softmax_agrees_with_float64(dtype: DType, dim: int) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(30 * np.random.default_rng(0).standard_normal((3, 40, 5)), dtype)
    out = chip.softmax(x, dim)
    x64 = x.to_float32().astype(float)
    powers = np.exp(x64 - x64.max(axis=dim, keepdims=True))
    exact = powers / powers.sum(axis=dim, keepdims=True)
    assert (out.shape, out.dtype) == (x.shape, dtype)
    step = 2.0**-8 if dtype is DType.BFLOAT16 else 1e-5
    assert np.allclose(out.to_float32(), exact, rtol=step, atol=1e-30)


def test_an_empty_tensor_and_a_missing_dim() -> None:
    chip = Chip.open("p150")
    assert chip.softmax(chip.tensor(np.zeros((0, 3)))).shape == (0, 3)
    with pytest.raises(ShapeError, match=r"dim \(=2\) must be within -2 \.\. 1 for shape \(1, 3\)"):
        chip.softmax(chip.tensor(np.zeros((1, 3))), 2)
