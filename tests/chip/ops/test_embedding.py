from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument

TABLE = np.arange(60, dtype=np.float32).reshape(12, 5)


@given(st.lists(st.integers(0, 11), min_size=1, max_size=9), st.integers(1, 4))
def test_the_parts_of_a_table_cut_by_rows_sum_to_the_whole(ids: list[int], num_parts: int) -> None:
    chip = Chip.open("p150")
    wanted = chip.tensor(np.array([ids]))
    bounds = np.linspace(0, 12, num_parts + 1).astype(int)
    parts = [
        chip.embedding(wanted, chip.tensor(TABLE[first:last], DType.BFLOAT16), int(first))
        for first, last in pairwise(bounds)
    ]
    assert parts[0].shape == (1, len(ids), 5)
    assert np.array_equal(sum(part.to_float32() for part in parts), TABLE[[ids]])


def test_ids_outside_the_rows_give_zeros() -> None:
    chip = Chip.open("p150")
    ids = chip.tensor(np.array([4, 5, 17, 18], np.uint32))
    out = chip.embedding(ids, chip.tensor(TABLE + 1), first_row=5).to_numpy()
    assert (out[:, 0] > 0).tolist() == [False, True, False, False]
    assert out[1].tolist() == (TABLE[0] + 1).tolist()
    nothing = chip.embedding(ids, chip.tensor(np.zeros((0, 5))))
    assert nothing.to_numpy().tolist() == np.zeros((4, 5)).tolist()


def test_a_negative_id_and_ids_that_are_floats_are_refused() -> None:
    chip = Chip.open("p150", rank=2)
    table = chip.tensor(TABLE)
    with pytest.raises(InvalidArgument, match=r"chip 2, embedding: an id \(=-1\) must be >= 0"):
        chip.embedding(chip.tensor(np.array([3, -1])), table)
    with pytest.raises(DTypeError, match="ids are float32"):
        chip.embedding(chip.tensor(np.array([3.0])), table)
    with pytest.raises(InvalidArgument, match=r"first_row \(=-5\)"):
        chip.embedding(chip.tensor(np.array([3])), table, first_row=-5)
