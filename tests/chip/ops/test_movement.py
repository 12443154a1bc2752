import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError
from meshtwin.chip.tensor import Layout

CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@given(st.permutations([0, 1, 2]), st.sampled_from([(4, 6), (-1,), (1, 24, 1), (2, -1, 2)]))
def test_permute_and_reshape_do_what_numpy_does(dims: list[int], shape: tuple[int, ...]) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(CUBE, DType.BFLOAT16)
    turned = chip.permute(x, dims)
    assert turned.to_numpy().tolist() == CUBE.transpose(dims).tolist()
    shaped = chip.reshape(turned, shape)
    assert shaped.to_numpy().tolist() == CUBE.transpose(dims).reshape(shape).tolist()


@pytest.mark.parametrize(
    ("old", "new", "layout", "is_view"),
    [
        ((2, 3, 4), (1, 2, 3, 4), Layout.TILE, True),
        ((2, 3, 4), (6, 4), Layout.TILE, False),
        ((64, 4), (2, 32, 4), Layout.TILE, True),
        ((1, 1, 576), (1, 1, 9, 64), Layout.TILE, False),
        ((576,), (1, 576), Layout.TILE, True),
        ((2, 3, 4), (6, 4), Layout.ROW_MAJOR, True),
        ((2, 3, 4), (6, 2, 2), Layout.ROW_MAJOR, False),  # a row is a page, and pages are padded
    ],
)
def test_a_reshape_that_moves_nothing_is_a_free_view(
    old: tuple[int, ...], new: tuple[int, ...], layout: Layout, is_view: bool
) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros(old), layout=layout)
    used = chip.dram.used_bytes
    out = chip.reshape(x, new)
    assert (out.shape, out.layout) == (new, layout)
    assert (out.allocation is x.allocation) == is_view
    assert (chip.dram.used_bytes == used) == is_view
    assert (chip.clock.now_ps == 0) == is_view
    assert np.may_share_memory(np.asarray(out.storage), np.asarray(x.storage)) == is_view


@pytest.mark.parametrize(
    ("values", "source", "target", "expected"),
    [
        ([1.0, 1.00390625], "float32", "bfloat16", [1.0, 1.0]),
        ([1.5, -2.75, 3e9, -3e9, np.nan], "float32", "int32", [1, -2, 2**31 - 1, -(2**31), 0]),
        ([-1.0, 7.9, np.inf], "bfloat16", "uint32", [0, 7, 2**32 - 1]),
        ([16777217, -3], "int32", "float32", [16777216.0, -3.0]),
        ([257], "int32", "bfloat16", [256.0]),
        ([-1], "int32", "uint32", [2**32 - 1]),
        ([0.5, -0.0], "bfloat16", "float32", [0.5, -0.0]),
        ([0.5], "bfloat16", "bfloat16", [0.5]),
        ([0.5], "float32", "float32", [0.5]),
    ],
)
def test_typecast_rounds_truncates_or_stops_at_the_end(
    values: list[float], source: str, target: str, expected: list[float]
) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.array(values), source)
    out = chip.typecast(x, target)
    assert out.dtype is DType.parse(target)
    assert out.to_numpy().tolist() == expected
    assert not np.may_share_memory(np.asarray(out.storage), np.asarray(x.storage))


def test_what_cannot_be_moved_is_refused() -> None:
    chip = Chip.open("p150", rank=1)
    x = chip.tensor(CUBE)
    with pytest.raises(ShapeError, match=r"chip 1, reshape: \(2, 3, 4\) as \(5, -1\): 24 elements"):
        chip.reshape(x, (5, -1))
    with pytest.raises(ShapeError, match="24 elements must stay 24"):
        chip.reshape(x, (-1, -1))
    with pytest.raises(ShapeError, match="must name each of the 3 dims"):
        chip.permute(x, (0, 1, 1))
    with pytest.raises(ShapeError, match=r"chip 1, transpose: dim \(=3\) must be within -3 \.\. 2"):
        chip.transpose(x, 0, 3)
    with pytest.raises(ShapeError, match=r"chip 1, squeeze: dim \(=-4\)"):
        chip.squeeze(x, -4)
    with pytest.raises(ShapeError, match=r"chip 1, unsqueeze: dim \(=4\) must be within -4 \.\. 3"):
        chip.unsqueeze(x, 4)
    with pytest.raises(ShapeError, match=r"x \(1, 1, 2, 3, 4\) \(expected 4 dims or fewer\)"):
        chip.unsqueeze_to_4d(chip.reshape(x, (1, 1, 2, 3, 4)))
