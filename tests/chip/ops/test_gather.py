import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError


def test_the_later_of_two_sources_stays() -> None:
    chip = Chip.open("p150")
    x = chip.zeros((4,), "float32")
    index = chip.tensor(np.array([1, 1, 3]))
    out = chip.scatter_elements(x, 0, index, chip.tensor(np.array([5.0, 6.0, 7.0])))
    assert out.to_numpy().tolist() == [0, 6, 0, 7]
    assert x.to_numpy().tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(("value", "nearest"), [(3, 2), (-1, 0)])
def test_an_index_outside_is_refused_where_there_are_values(value: int, nearest: int) -> None:
    chip = Chip.open("p150")
    x, index = chip.zeros((2, 3)), chip.tensor(np.array([[0, value]]))
    with pytest.raises(
        InvalidArgument,
        match=rf"gather_elements: index \(={value}\) must be within 0 \.\. 2, .*nearest: {nearest}",
    ):
        chip.gather_elements(x, 1, index)
    plan = Chip.open("p150", plan=True)
    x, index = plan.zeros((2, 3)), plan.tensor(np.array([[0, value]]))
    assert plan.gather_elements(x, 1, index).shape == (1, 2)


def test_shapes_and_formats_that_do_not_fit_are_refused() -> None:
    chip = Chip.open("p150")
    x, index = chip.zeros((2, 3)), chip.zeros((2, 2), "int32")
    with pytest.raises(ShapeError, match=r"dim 0 of index \(3, 2\) is 3, beyond x .*nearest: 2"):
        chip.gather_elements(x, 1, chip.zeros((3, 2), "int32"))
    with pytest.raises(ShapeError, match=r"index \(2,\) has 1 dims .expected 2, as x \(2, 3\)"):
        chip.gather_elements(x, 1, chip.zeros((2,), "int32"))
    with pytest.raises(DTypeError, match="index is bfloat16"):
        chip.gather_elements(x, 1, chip.zeros((2, 2)))
    with pytest.raises(
        ShapeError, match=r"source \(2, 3\) with index \(2, 2\) \(nearest: \(2, 2\)"
    ):
        chip.scatter_elements(x, 1, index, x)
    with pytest.raises(DTypeError, match=r"source is float32 .expected bfloat16"):
        chip.scatter_elements(x, 1, index, chip.zeros((2, 2), "float32"))
