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


def test_heads_of_a_step_are_those_of_a_sequence_turned() -> None:
    chip = Chip.open("p300c")
    x = np.random.default_rng(0).standard_normal((1, 1, 5, 8 * 16))
    sequence = chip.create_heads(chip.tensor(x, "bf16"), 4, 2)
    step = chip.create_heads_decode(chip.tensor(x, "bf16"), 4, 2)
    for before, now in zip(sequence, step, strict=True):
        assert np.array_equal(now.to_numpy(), before.to_numpy().swapaxes(1, 2))
    joined = chip.concat_heads_decode(step[0]).to_numpy()
    assert np.array_equal(joined[0], chip.concat_heads(sequence[0]).to_numpy())


def test_what_has_other_dims_is_refused() -> None:
    chip = Chip.open("p300c")
    with pytest.raises(ShapeError, match=r"x \(1, 2, 3, 8\) \(expected \[B, S, columns\] or"):
        chip.create_heads(chip.empty((1, 2, 3, 8)), 2, 1)
    with pytest.raises(ShapeError, match=r"x \(1, 2, 3, 8\) \(expected \[1, 1, B, columns\]\)"):
        chip.create_heads_decode(chip.empty((1, 2, 3, 8)), 2, 1)
    with pytest.raises(ShapeError, match=r"x \(2, 1, 3, 8\) \(expected \[1, B, N, H\]\)"):
        chip.concat_heads_decode(chip.empty((2, 1, 3, 8)))
    split = chip.split_query_key_value
    x = chip.empty((1, 3, 8))
    with pytest.raises(ShapeError, match=r"8 columns \(expected a multiple of 9\)"):
        split(x, num_heads=3)
    with pytest.raises(ShapeError, match="expected columns that are a multiple of 3"):
        split(x, x, num_heads=3)
    with pytest.raises(ShapeError, match=r"kv .*\(expected bfloat16 \(1, 3, 16\), as x is"):
        split(x, x, num_heads=2)
    with pytest.raises(ShapeError, match=r"kv has shape \(3, 8\) \(expected 3 dims\)"):
        split(x, chip.empty((3, 8)), num_heads=2)


def test_a_row_of_tiles_is_one_piece_of_work() -> None:
    chip = Chip.open("p300c", plan=True)
    few, many = (
        chip.create_heads(chip.empty((1, tokens, 2048)), 6, 1)[0] for tokens in (2 * 32, 8 * 32)
    )
    chip.concat_heads(few)
    chip.concat_heads(many)
    works = [work for _, work in chip.recorder.works() if work]
    assert [work.num_parallel for work in works] == [2, 8, 2, 8]
    short, long = (record.sim_duration_ps for record in chip.recorder.records()[:2])
    assert long < 1.1 * short
