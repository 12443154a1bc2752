import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.tensor import Layout


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


def test_a_weight_in_rows_of_32_is_a_weight() -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    x = chip.tensor(rng.standard_normal((1, 1, 3, 128)), "bf16")
    weight = rng.standard_normal(128)
    flat = chip.rms_norm(x, chip.tensor(weight, "bf16"), 1e-5)
    rows = chip.tensor(weight.reshape(1, 1, 4, 32), "bf16", Layout.ROW_MAJOR)
    assert np.array_equal(chip.rms_norm(x, rows, 1e-5).to_numpy(), flat.to_numpy())


def test_a_layer_norm_does_not_see_a_constant_added() -> None:
    chip = Chip.open("p150")
    x = np.arange(8.0)[None]
    near, far = (chip.layer_norm(chip.tensor(x + more)).to_numpy() for more in (0, 1000))
    assert np.array_equal(near, far)
    assert near.std() == pytest.approx(1)


@pytest.mark.parametrize("role", ["weight", "bias", "residual"])
def test_a_layer_norm_of_words_is_that_of_float32_rounded(role: str) -> None:
    chip = Chip.open("p150")
    rng = np.random.default_rng(0)
    x = chip.tensor(10 * rng.standard_normal((5, 200)), "bf16")
    other = chip.tensor(rng.standard_normal((5, 200) if role == "residual" else 200), "bf16")
    words = chip.layer_norm(x, eps=1e-5, **{role: other})
    wide = chip.layer_norm(chip.typecast(x, "float32"), eps=1e-5, **{role: other})
    assert np.allclose(words.to_numpy(), wide.to_numpy(), rtol=2.0**-8, atol=1e-6)


def test_more_inputs_take_longer() -> None:
    chip = Chip.open("p150", plan=True)
    x, weight = chip.empty((4096, 4096)), chip.empty((4096,))
    chip.rms_norm(x, weight)
    chip.rms_norm(x, weight, residual=x)
    chip.layer_norm(x, weight, weight, residual=x)
    times = [record.sim_duration_ps for record in chip.recorder.records()]
    assert times == sorted(times) and times[0] < times[1]


def test_what_a_norm_cannot_take_is_refused() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 4)))
    with pytest.raises(ShapeError, match=r"layer_norm: x \(2, 4\) with bias \(3,\)"):
        chip.layer_norm(x, bias=chip.tensor(np.zeros(3)))
    with pytest.raises(ShapeError, match=r"residual \(4,\) \(expected \(2, 4\), as x\)"):
        chip.rms_norm(x, residual=chip.tensor(np.zeros(4)))
    with pytest.raises(ShapeError, match=r"x \(\) \(expected"):
        chip.rms_norm(chip.tensor(np.zeros(())))
    with pytest.raises(InvalidArgument, match=r"eps \(=-1\)"):
        chip.layer_norm(x, eps=-1)
    with pytest.raises(DTypeError, match="weight is int32"):
        chip.rms_norm(x, chip.tensor(np.zeros(4, int)))
    with pytest.raises(InvalidArgument, match="x is row_major"):
        chip.rms_norm(chip.to_layout(x, Layout.ROW_MAJOR))
