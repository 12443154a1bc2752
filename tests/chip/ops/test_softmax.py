import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument, ShapeError
from meshtwin.chip.tensor import Layout


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


def test_what_is_far_below_the_largest_is_nothing_along_any_dim() -> None:
    chip = Chip.open("p150")
    x = np.array([[0.0, -87.5, -1e4, -np.inf]])
    for dtype in ("float32", "bf16"):
        rows, columns = chip.tensor(x, dtype), chip.tensor(x.T, dtype)
        assert chip.softmax(rows).to_numpy().tolist() == [[1, 0, 0, 0]]
        assert chip.softmax(columns, 0).to_numpy().tolist() == [[1], [0], [0], [0]]


def test_an_empty_tensor_and_a_missing_dim() -> None:
    chip = Chip.open("p150")
    assert chip.softmax(chip.tensor(np.zeros((0, 3)))).shape == (0, 3)
    with pytest.raises(ShapeError, match=r"dim \(=2\) must be within -2 \.\. 1 for shape \(1, 3\)"):
        chip.softmax(chip.tensor(np.zeros((1, 3))), 2)


def test_a_causal_row_sees_what_came_before_it() -> None:
    chip = Chip.open("p150")
    out = chip.scale_mask_softmax(chip.tensor(np.zeros((2, 4))), is_causal=True)
    third = np.float32(1) / np.float32(3)
    assert out.to_numpy().tolist() == [[third, third, third, 0], [0.25] * 4]


def test_a_row_masked_throughout_is_nan() -> None:
    chip = Chip.open("p150")
    mask = chip.tensor(np.full((1, 2), -np.inf))
    out = chip.scale_mask_softmax(chip.tensor(np.zeros((3, 2))), None, mask)
    assert np.isnan(out.to_numpy()).all()


def test_what_cannot_be_masked_is_refused() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    for shape in ((3, 3), (1, 2, 3)):
        with pytest.raises(ShapeError, match=r"expected \(2, 3\), where any dim may be 1"):
            chip.scale_mask_softmax(x, mask=chip.tensor(np.zeros(shape)))
    with pytest.raises(ShapeError, match="no fewer columns than rows"):
        chip.scale_mask_softmax(chip.tensor(np.zeros((3, 2))), is_causal=True)
    with pytest.raises(ShapeError, match="expected 2 dims or more"):
        chip.scale_mask_softmax(chip.tensor(np.zeros(3)))
    with pytest.raises(InvalidArgument, match=r"scale \(=inf\) must be finite"):
        chip.scale_mask_softmax(x, np.inf)
    with pytest.raises(InvalidArgument, match="x is row_major"):
        chip.softmax(chip.to_layout(x, Layout.ROW_MAJOR))
