import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, ShapeError
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


@given(st.data())
def test_pieces_cut_out_and_joined_again_are_the_whole(data: st.DataObject) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(CUBE)
    dim = data.draw(st.integers(0, 2))
    cut = data.draw(st.integers(0, CUBE.shape[dim]))
    stops = [*CUBE.shape[:dim], cut, *CUBE.shape[dim + 1 :]]
    starts = [cut if other == dim else 0 for other in range(3)]
    pieces = [chip.slice(x, (0, 0, 0), stops), chip.slice(x, starts, CUBE.shape)]
    for joined in (chip.concat(pieces, dim), chip.concat(pieces, dim - 3)):
        assert joined.to_numpy().tolist() == CUBE.tolist()


def test_a_slice_is_a_tensor_of_its_own() -> None:
    chip = Chip.open("p150")
    cache = chip.tensor(CUBE)
    piece = chip.slice(cache, (0, 0, 0), (1, 3, 4))
    assert not np.may_share_memory(np.asarray(piece.storage), np.asarray(cache.storage))


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
    with pytest.raises(ShapeError, match="0 <= start <= stop <= dim"):
        chip.slice(x, (0, 0, 0), (2, 3, 5))
    with pytest.raises(ShapeError, match="0 <= start <= stop <= dim"):
        chip.slice(x, (0, 0), (2, 3))
    with pytest.raises(ShapeError, match="all dims but 0 must be equal"):
        chip.concat([x, chip.tensor(np.zeros((2, 3, 5)))], 0)
    with pytest.raises(DTypeError, match="expected one dtype"):
        chip.concat([x, chip.tensor(CUBE, "bf16")], 0)
    with pytest.raises(ShapeError, match="one tensor or more"):
        chip.concat([], 0)
