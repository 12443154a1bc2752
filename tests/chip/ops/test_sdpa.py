"""Attention of many positions; its values are in calls/attention.py."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.kernels import COMPILED
from meshtwin.chip.tensor import Layout, Tensor


def random(chip: Chip, *shape: int, dtype: str = "bfloat16") -> Tensor:
    """A tensor of normal numbers."""
    return chip.tensor(np.random.default_rng(sum(shape)).standard_normal(shape), dtype)


def table(chip: Chip, rows: list[list[int]]) -> Tensor:
    """A page table."""
    return chip.tensor(np.array(rows), "int32")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_causal_prefill_is_attention_bit_for_bit_and_in_time(dtype: str) -> None:
    chip = Chip.open("p150")
    q, k, v = (random(chip, 2, heads, 33, 64, dtype=dtype) for heads in (4, 2, 2))
    plain, ours = chip.attention(q, k, v, 0), chip.scaled_dot_product_attention(q, k, v)
    assert np.array_equal(plain.to_numpy(), ours.to_numpy())
    first, second = chip.recorder.records()
    assert first.sim_duration_ps == second.sim_duration_ps
    assert first.flops == second.flops


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_prompt_in_chunks_gives_what_the_whole_gives(dtype: str) -> None:
    chip = Chip.open("p150")
    q, k, v = (random(chip, 1, heads, 12, 16, dtype=dtype) for heads in (4, 2, 2))
    whole = chip.attention(q, k, v, 0).to_numpy()
    pages = table(chip, [[2, 0, 3]])
    caches = [chip.zeros((4, 2, 4, 16), dtype) for _ in "kv"]
    for cache, x in zip(caches, (k, v), strict=True):
        chip.paged_fill_cache(cache, x, pages)
    for start, stop in ((0, 5), (5, 6), (6, 12)):
        part = chip.slice(q, (0, 0, start, 0), (1, 4, stop, 16))
        out = chip.chunked_scaled_dot_product_attention(part, caches[0], caches[1], pages, start)
        if dtype == "bfloat16" and COMPILED:  # its loops sum a row in one order
            assert np.array_equal(out.to_numpy(), whole[:, :, start:stop])
        assert np.allclose(out.to_numpy(), whole[:, :, start:stop], rtol=1e-5, atol=1e-6)


def test_a_window_takes_less_time() -> None:
    chip = Chip.open("p150", plan=True)
    q, k = chip.empty((1, 32, 8192, 128)), chip.empty((1, 8, 8192, 128))
    for causal in (True, False):
        chip.scaled_dot_product_attention(q, k, k, is_causal=causal)
        chip.scaled_dot_product_attention(q, k, k, is_causal=causal, sliding_window_size=512)
    whole, window, both, around = (record.sim_duration_ps for record in chip.recorder.records())
    assert window < whole < both and around < both


def test_a_sink_takes_probability_and_a_great_one_takes_all() -> None:
    chip = Chip.open("p150")
    q, v = chip.tensor(np.zeros((1, 2, 1, 4))), chip.tensor(np.ones((1, 2, 1, 4)))
    sink = chip.tensor(np.array([0.0, 1e4]).reshape(1, 2, 1, 1))
    out = chip.scaled_dot_product_attention(q, v, v, attention_sink=sink).to_numpy()
    assert out[0, :, 0, 0].tolist() == [0.5, 0]


def test_what_does_not_fit_is_refused() -> None:
    chip = Chip.open("p150", rank=1)
    q, k = chip.empty((1, 4, 8, 16)), chip.empty((1, 2, 8, 16))
    attend = chip.scaled_dot_product_attention
    mask = chip.empty((1, 1, 8, 8))
    with pytest.raises(InvalidArgument, match="attn_mask beside is_causal or sliding_window_size"):
        attend(q, k, k, attn_mask=mask)
    with pytest.raises(InvalidArgument, match="attn_mask beside"):
        attend(q, k, k, attn_mask=mask, is_causal=False, sliding_window_size=3)
    with pytest.raises(ShapeError, match=r"mask \(1, 2, 8, 8\) \(expected \(1, 4, 8, 8\)"):
        attend(q, k, k, attn_mask=chip.empty((1, 2, 8, 8)), is_causal=False)
    with pytest.raises(ShapeError, match=r"as many queries as keys \(expected k \[1, K, 7, 16\]"):
        attend(chip.empty((1, 4, 7, 16)), k, k)
    with pytest.raises(InvalidArgument, match=r"sliding_window_size \(=0\) must be >= 1"):
        attend(q, k, k, sliding_window_size=0)
    with pytest.raises(ShapeError, match=r"attention_sink \(1, 2, 1, 1\) \(expected \(1, 4, 1, 1"):
        attend(q, k, k, attention_sink=chip.empty((1, 2, 1, 1)))
    with pytest.raises(ShapeError, match="expected k and v alike"):
        attend(q, k, chip.empty((1, 2, 9, 16)))
    with pytest.raises(ShapeError, match=r"expected k \[1, K, L, 16\]"):
        attend(q, chip.empty((2, 2, 8, 16)), chip.empty((2, 2, 8, 16)))
    with pytest.raises(InvalidArgument, match="chip 1, scaled_dot_product_attention: q is row_maj"):
        attend(chip.to_layout(q, Layout.ROW_MAJOR), k, k)


def test_pages_that_do_not_hold_the_positions_are_refused() -> None:
    chip = Chip.open("p150")
    q, k, pages = chip.empty((1, 4, 8, 16)), chip.empty((5, 2, 4, 16)), table(chip, [[0, 5, -1]])
    attend = chip.chunked_scaled_dot_product_attention
    with pytest.raises(InvalidArgument, match=r"positions 5 \.\. 12 \(expected within 0 \.\. 11"):
        attend(q, k, k, pages, 5)
    with pytest.raises(InvalidArgument, match=r"page_table\[0, 1\] \(=5\) must be within 0 \.\. 4"):
        attend(q, k, k, pages, 0)
    with pytest.raises(ShapeError, match=r"page_table \(2, 1\) \(expected 1 rows"):
        attend(q, k, k, table(chip, [[0], [1]]), 0)
    with pytest.raises(DTypeError, match="page_table is bfloat16"):
        attend(q, k, k, chip.empty((1, 3)), 0)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 50), st.booleans())
def test_the_work_is_that_of_the_pairs_that_see_each_other(
    positions: int, length: int, window: int, causal: bool
) -> None:
    length = positions if causal else length
    chip = Chip.open("p150", plan=True)
    q, k = chip.empty((2, 3, positions, 16)), chip.empty((2, 1, length, 16))
    chip.scaled_dot_product_attention(q, k, k, is_causal=causal, sliding_window_size=window)
    ahead = np.arange(length) - np.arange(positions)[:, None]
    sees = (ahead <= 0) & (ahead > -window) if causal else abs(ahead) <= window // 2
    (record,) = chip.recorder.records()
    assert record.flops == 2 * 3 * 4 * 16 * sees.sum()
