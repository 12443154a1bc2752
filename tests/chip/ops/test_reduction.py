import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import DTypeError, ShapeError
from meshtwin.chip.memory.config import MemoryConfig


def test_sums_of_nothing_are_zero_products_one_and_means_nan() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 0)), "bfloat16")
    assert chip.sum(x).to_numpy().tolist() == 0
    assert chip.prod(x, 1).to_numpy().tolist() == [1, 1]
    assert np.isnan(chip.mean(x, -1).to_numpy()).all()
    with pytest.raises(
        ShapeError, match=r"max: dim 1 of x \(2, 0\) has no elements \(nearest: 1\)"
    ):
        chip.max(x, -1)


def test_a_sum_is_rounded_once() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.full((1, 512), 1 + 2**-7), "bfloat16")  # bfloat16 sums would stop at 256
    assert chip.sum(x).to_numpy() == 516


def test_integer_sums_wrap_and_the_largest_is_exact() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([2**31 - 1, 1, 2**24 + 1]))
    assert chip.sum(x).to_numpy() == -(2**31) + 2**24 + 1
    assert chip.max(x).to_numpy() == 2**31 - 1
    assert chip.min(chip.tensor(np.array([2**24 + 1, 2**24 + 3]))).to_numpy() == 2**24 + 1
    with pytest.raises(DTypeError, match="mean: x is int32"):
        chip.mean(x)


def test_nan_is_the_largest_and_the_smallest() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([1.0, np.nan, np.inf]), "bfloat16")
    assert np.isnan(chip.max(x).to_numpy()) and np.isnan(chip.min(x).to_numpy())


def test_the_variance_of_one_number_is_nan_but_without_correction_zero() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([[3.0]]))
    assert np.isnan(chip.var(x).to_numpy()) and np.isnan(chip.std(x, 0).to_numpy()).all()
    assert chip.var(x, correction=False).to_numpy() == 0


def test_a_dim_that_is_not_there_or_named_twice_is_refused() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    with pytest.raises(
        ShapeError, match=r"sum: dim \(=-3\) must be within -2 \.\. 1 .* \(nearest: -2\)"
    ):
        chip.sum(x, -3)
    with pytest.raises(ShapeError, match=r"mean: dim \(=\(0, -2\)\) names a dim of \(2, 3\) twice"):
        chip.mean(x, [0, -2])
    with pytest.raises(ShapeError, match=r"cumsum: dim \(=0\) of shape \(\), which has none"):
        chip.cumsum(chip.full((), 1.0), 0)


def test_a_variance_reads_its_tiles_three_times() -> None:
    times = []
    for name in ("sum", "var"):
        chip = Chip.open("p150")
        x = chip.tensor(np.ones((1, 32 * 1000)), "bfloat16", memory=MemoryConfig.L1)
        getattr(chip, name)(x)
        times.append(chip.clock.now_ps - chip.cost.dispatch_ps)
    assert times[1] == pytest.approx(3 * times[0], rel=1e-3)
