import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError
from meshtwin.chip.tensor import Layout

few_values = st.lists(st.integers(-3, 3), min_size=1, max_size=50)


@given(few_values)
def test_the_first_of_equal_maxima_is_taken(values: list[int]) -> None:
    chip = Chip.open("p150")
    out = chip.argmax(chip.tensor(np.array([values], float), DType.BFLOAT16))
    assert (out.shape, out.dtype) == ((1,), DType.UINT32)
    assert out.to_numpy().tolist() == [values.index(max(values))]


@given(few_values, st.data())
def test_topk_sorts_by_value_then_by_index(values: list[int], data: st.DataObject) -> None:
    chip = Chip.open("p150")
    k = data.draw(st.integers(1, len(values)))
    top, indices = chip.topk(chip.tensor(np.array([values], float)), k)
    expected = sorted(range(len(values)), key=lambda index: (-values[index], index))[:k]
    assert indices.to_numpy().tolist() == [expected]
    assert top.to_numpy().tolist() == [[values[index] for index in expected]]
    assert indices.dtype is DType.UINT32


def test_other_dims_than_the_last() -> None:
    chip = Chip.open("p150")
    x = np.random.default_rng(0).standard_normal((4, 6, 3))
    tensor = chip.tensor(x, DType.BFLOAT16)
    wide = tensor.to_float32()
    assert np.array_equal(chip.argmax(tensor, 1).to_numpy(), wide.argmax(axis=1))
    values, indices = chip.topk(tensor, 2, dim=0)
    order = np.argsort(-wide, axis=0, kind="stable")[:2]
    assert np.array_equal(indices.to_numpy(), order)
    assert np.array_equal(values.to_numpy(), np.take_along_axis(wide, order, axis=0))


def test_nan_counts_as_the_largest() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([1.0, np.nan, 5.0]))
    assert chip.argmax(x).to_numpy().tolist() == 1
    assert chip.topk(x, 2)[1].to_numpy().tolist() == [1, 2]


def test_nan_is_sorted_as_the_largest() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array([np.nan, 5.0, -1.0]))
    assert chip.sort(x)[1].to_numpy().tolist() == [2, 1, 0]
    assert chip.sort(x, descending=True)[1].to_numpy().tolist() == [0, 1, 2]
    assert chip.topk(x, 2, largest=False)[1].to_numpy().tolist() == [2, 1]


def test_indices_of_argmax_are_row_major_and_those_of_topk_lie_as_the_tensor() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    assert chip.argmax(x).layout is Layout.ROW_MAJOR
    assert chip.argmax(x, None).shape == ()
    assert {tensor.layout for tensor in (*chip.topk(x, 2), *chip.sort(x))} == {Layout.TILE}


def test_a_longer_sort_takes_more_compare_steps() -> None:
    chip = Chip.open("p150")
    times = []
    for length in (32, 64, 4096):
        before = chip.clock.now_ps
        chip.sort(chip.tensor(np.zeros((32, length))))
        times.append(chip.clock.now_ps - before)
    assert times == sorted(times) and times[2] > 20 * times[1]


def test_more_than_there_are_cannot_be_chosen() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"k \(=4\) must be within 1 \.\. 3, the length of dim 1"):
        chip.topk(x, 4)
    with pytest.raises(ShapeError, match="no elements to choose from"):
        chip.argmax(chip.tensor(np.zeros((2, 0))))
    with pytest.raises(ShapeError, match=r"sort: dim \(=2\) must be within -2 \.\. 1 .*nearest: 1"):
        chip.sort(x, 2)


def test_a_wide_row_is_cut_over_cores_to_find_its_largest() -> None:
    chip = Chip.open("p300c", plan=True)
    for width in (32, 1024, 32 * 1024):
        chip.topk(chip.empty((64, width)), 4)
    works = [work for _, work in chip.recorder.works() if work]
    assert [work.num_parallel for work in works] == [2, 2 * 2, 2 * 16]
