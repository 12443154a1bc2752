import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, ShapeError

BF16_STEP = 2.0**-8  # half a unit in the last place, relative


@given(
    st.integers(1, 40),
    st.integers(1, 70),
    st.integers(1, 40),
    st.sampled_from([dtype for dtype in DType if dtype.computes]),
    st.booleans(),
)
def test_linear_agrees_with_float64(m: int, k: int, n: int, dtype: DType, biased: bool) -> None:
    if not dtype.is_float:
        return
    chip = Chip.open("p150")
    rng = np.random.default_rng(m * k * n)
    x = chip.tensor(rng.standard_normal((2, m, k)), dtype)
    weight = chip.tensor(rng.standard_normal((n, k)), DType.BFLOAT16)
    bias = chip.tensor(rng.standard_normal(n), DType.BFLOAT16) if biased else None
    out = chip.linear(x, weight, bias)
    x64, weight64 = x.to_float32().astype(float), weight.to_float32().astype(float)
    exact = x64 @ weight64.T + (0 if bias is None else bias.to_float32().astype(float))
    size = np.abs(x64) @ np.abs(weight64).T + 4
    step = BF16_STEP if dtype is DType.BFLOAT16 else 0
    assert (out.shape, out.dtype) == ((2, m, n), dtype)
    assert np.all(np.abs(out.to_float32() - exact) <= step * np.abs(exact) + size * 2.0**-20)


@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((3, 5), (5, 2)), ((2, 1, 4, 8), (3, 8, 6)), ((4, 33, 7), (7, 40)), ((2, 0, 3), (3, 2))],
)
def test_matmul_agrees_with_float64(
    a_shape: tuple[int, ...], b_shape: tuple[int, ...], dtype: DType
) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    a = chip.tensor(rng.standard_normal(a_shape), dtype)
    b = chip.tensor(rng.standard_normal(b_shape), dtype)
    out = chip.matmul(a, b)
    exact = np.matmul(a.to_float32().astype(float), b.to_float32().astype(float))
    assert (out.shape, out.dtype) == (exact.shape, dtype)
    assert np.allclose(out.to_float32(), exact, rtol=BF16_STEP, atol=1e-5)


def test_products_that_do_not_fit_are_refused() -> None:
    chip = Chip.open("p150")
    x, ids = chip.tensor(np.zeros((2, 3))), chip.tensor(np.zeros((3, 2), int))
    with pytest.raises(ShapeError, match=r"\(2, 3\) x \(2, 3\): 3 columns of a meet 2 rows of b"):
        chip.matmul(x, x)
    with pytest.raises(ShapeError, match="two dims or more"):
        chip.matmul(x, chip.tensor(np.zeros(3)))
    with pytest.raises(ShapeError, match="leading dims"):
        chip.matmul(chip.tensor(np.zeros((2, 2, 3))), chip.tensor(np.zeros((3, 3, 3))))
    with pytest.raises(DTypeError, match="b is int32"):
        chip.matmul(x, ids)
    with pytest.raises(ShapeError, match=r"expected x \[..., K\] and weight \[N, K\]"):
        chip.linear(x, chip.tensor(np.zeros((3, 2))))
    with pytest.raises(ShapeError, match=r"bias \(2,\) \(expected \(4,\)"):
        chip.linear(x, chip.tensor(np.zeros((4, 3))), chip.tensor(np.zeros(2)))


def test_the_work_counts_whole_tiles_and_fidelity_phases() -> None:
    chip = Chip.open("p150")
    for dtype in (DType.BFLOAT16, DType.FLOAT32):
        chip.linear(
            chip.tensor(np.zeros((1, 1, 576)), dtype), chip.tensor(np.zeros((96, 576)), dtype)
        )
    bf16, f32 = chip.recorder.records()
    assert bf16.flops == f32.flops == 2 * 576 * 96
    assert bf16.bytes == 2 * (32 * 576 + 96 * 576 + 32 * 96)
    assert f32.bytes == 2 * bf16.bytes
