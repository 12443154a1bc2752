"""Heads out of a projection and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import ShapeError

SIZES = st.integers(1, 4)


@given(batch=SIZES, positions=SIZES, heads=SIZES, kv_heads=SIZES, width=st.integers(1, 40))
def test_heads_are_the_columns_of_the_projection_in_order(
    batch: int, positions: int, heads: int, kv_heads: int, width: int
) -> None:
    chip = Chip.open("p300c")
    columns = (heads + 2 * kv_heads) * width
    x = np.arange(batch * positions * columns, dtype=np.float32).reshape(batch, positions, columns)
    q, k, v = chip.create_heads(chip.tensor(x), heads, kv_heads)
    assert (q.shape, k.shape) == (
        (batch, heads, positions, width),
        (batch, kv_heads, positions, width),
    )
    for head in range(heads):
        assert np.array_equal(q.to_numpy()[:, head], x[..., head * width : (head + 1) * width])
    for index, tensor in ((heads, k), (heads + kv_heads, v)):
        for head in range(kv_heads):
            start = (index + head) * width
            assert np.array_equal(tensor.to_numpy()[:, head], x[..., start : start + width])


@given(batch=SIZES, positions=SIZES, heads=SIZES, width=st.integers(1, 40))
def test_concat_heads_undoes_create_heads(
    batch: int, positions: int, heads: int, width: int
) -> None:
    chip = Chip.open("p300c")
    x = np.random.default_rng(0).standard_normal((batch, positions, 3 * heads * width))
    q, k, v = chip.create_heads(chip.tensor(x, DType.BFLOAT16), heads, heads)
    joined = [chip.concat_heads(part).to_numpy() for part in (q, k, v)]
    assert np.array_equal(np.concatenate(joined, -1), chip.tensor(x, DType.BFLOAT16).to_numpy())


def test_columns_that_are_not_a_multiple_of_the_heads_are_refused() -> None:
    chip = Chip.open("p300c")
    with pytest.raises(ShapeError, match=r"10 columns \(expected a multiple of 4\)"):
        chip.create_heads(chip.empty((1, 1, 10)), 2, 1)
