import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument, ShapeError
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


def test_indices_of_16_bits_take_half_the_room_where_they_fit() -> None:
    chip = Chip.open("p150", plan=True)
    x = chip.empty((1, 1 << 16))
    short, long = (chip.topk(x, 64, indices_dtype=dtype)[1] for dtype in ("uint16", "uint32"))
    assert (short.dtype, long.dtype) == (DType.UINT16, DType.UINT32)
    assert 2 * short.spec.padded_bytes == long.spec.padded_bytes
    assert chip.sort(x, indices_dtype="uint16")[1].dtype is DType.UINT16
    longer = chip.empty((1, (1 << 16) + 1))
    with pytest.raises(InvalidArgument, match=r"of 65537 elements \(expected uint32"):
        chip.topk(longer, 2, indices_dtype="uint16")
    with pytest.raises(InvalidArgument, match=r"of 65537 elements \(expected uint32"):
        chip.sort(longer, indices_dtype="uint16")
    with pytest.raises(InvalidArgument, match=r"indices_dtype \(=int32\) must be uint16 or"):
        chip.topk(x, 2, indices_dtype="int32")


def test_16_bit_indices_gather_what_was_chosen() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.random.default_rng(0).standard_normal((3, 50)))
    values, indices = chip.topk(x, 4, indices_dtype="uint16")
    gathered = chip.gather_elements(x, 1, indices)
    assert np.array_equal(gathered.to_numpy(), values.to_numpy())


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


def test_topk_of_a_vocabulary_takes_what_it_was_measured_to_take() -> None:
    """180 us of kernel on a Wormhole Galaxy, 32 users; see topk_split_columns in costs.toml."""
    chip = Chip.open("galaxy_wh", plan=True)
    chip.topk(chip.empty((1, 1, 32, 16384)), 32)
    assert chip.clock.now_ps == pytest.approx(180e6, rel=0.1)
    chip.topk(chip.empty((1, 1, 32, 8160)), 32)
    one_core_ps = chip.recorder.records()[-1].sim_duration_ps
    assert one_core_ps > chip.recorder.records()[0].sim_duration_ps
