import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError


def test_nan_is_equal_to_nothing_and_true() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([np.nan, 0.0, -0.0, 2.0]), "bfloat16")
    assert chip.eq(x, x).to_numpy().tolist() == [0, 1, 1, 1]
    assert chip.ne(x, x).to_numpy().tolist() == [1, 0, 0, 0]
    assert chip.logical_not(x).to_numpy().tolist() == [0, 1, 1, 0]
    assert chip.where(x, 1, 2).to_numpy().tolist() == [1, 2, 2, 1]


def test_truth_has_the_dtype_of_the_first_operand() -> None:
    chip = Chip.open("p150")
    a, b = chip.tensor(np.ones(3), "bfloat16"), chip.tensor(np.ones(3))
    assert (chip.gt(a, b).dtype, chip.gt(b, a).dtype) == (a.dtype, b.dtype)
    unsigned = chip.tensor(np.array([3, 2**32 - 1], np.uint32))
    assert chip.eq(unsigned, 3).to_numpy().tolist() == [1, 0]
    assert chip.gt(unsigned, 3).to_numpy().tolist() == [0, 1]
    assert chip.eq(unsigned, 3).dtype is unsigned.dtype


def test_where_takes_the_format_of_what_it_chooses_from() -> None:
    chip = Chip.open("p150")
    condition = chip.tensor(np.array([1, 0]))
    third = chip.tensor(np.full(2, 1 / 3))
    near = chip.tensor(np.full(2, 1 / 3), "bfloat16")
    out = chip.where(condition, near, third)
    assert out.dtype is near.dtype
    assert out.to_numpy().tolist() == near.to_numpy().tolist()
    assert chip.where(condition, 7, third).dtype is third.dtype
    assert chip.where(condition, 7, -1).to_numpy().tolist() == [7, -1]


def test_what_does_not_fit_is_refused() -> None:
    chip = Chip.open("p150")
    condition = chip.tensor(np.array([1, 0]))
    with pytest.raises(ShapeError, match=r"where: .* dim -1 of a is 3 \(nearest: 2, as condition"):
        chip.where(condition, chip.tensor(np.zeros(3)), 0)
    with pytest.raises(ShapeError, match=r"dim -1 of b is 5 \(nearest: 3, as a, or 1\)"):
        chip.where(chip.tensor(np.zeros(1)), chip.tensor(np.zeros(3)), chip.tensor(np.zeros(5)))
    with pytest.raises(DTypeError, match="where: float32 with int32"):
        chip.where(condition, chip.tensor(np.zeros(2)), condition)
    with pytest.raises(InvalidArgument, match=r"where: b \(=0.4\) must be a whole number"):
        chip.where(condition, condition, 0.4)
