import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError

CUBE = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


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


def test_a_step_takes_every_so_many_elements() -> None:
    chip = Chip.open("p150")
    out = chip.slice(chip.tensor(CUBE), (0, 0, 1), (2, 3, 4), (1, 2, 2))
    assert out.to_numpy().tolist() == CUBE[:, ::2, 1::2].tolist()


def test_chunks_are_as_even_as_torch_makes_them() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((5, 2)))
    assert [part.shape[0] for part in chip.chunk(x, 4)] == [2, 2, 1]
    assert [part.shape[1] for part in chip.split(x, [0, 2], -1)] == [0, 2]
    assert [part.shape[0] for part in chip.split(x, 9)] == [5]


def test_what_cannot_be_cut_or_joined_is_refused() -> None:
    chip = Chip.open("p150", rank=1)
    x = chip.tensor(CUBE)
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
    for steps in ((1, 1), (1, 0, 1)):
        with pytest.raises(ShapeError, match="expected one for each dim, each >= 1"):
            chip.slice(x, (0, 0, 0), (2, 3, 4), steps)
    with pytest.raises(ShapeError, match=r"chip 1, stack: \(2, 3\) with \(2, 3, 4\)"):
        chip.stack([x, chip.tensor(np.zeros((2, 3)))], 0)
    with pytest.raises(ShapeError, match=r"pieces of \(1, 1\) along dim 1 of \(2, 3, 4\)"):
        chip.split(x, [1, 1], 1)
    with pytest.raises(InvalidArgument, match=r"chip 1, split: split_size \(=0\)"):
        chip.split(x, 0)
    with pytest.raises(InvalidArgument, match=r"chip 1, chunk: chunks \(=-1\)"):
        chip.chunk(x, -1)
    with pytest.raises(ShapeError, match=r"chip 1, split: dim \(=3\)"):
        chip.split(x, 1, 3)
