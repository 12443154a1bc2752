"""Attention of one position of each user; its values are in calls/attention.py."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.ops.sdpa_decode import PLAIN_SDPA_DECODE
from meshtwin.chip.tensor import Tensor


def random(chip: Chip, *shape: int, dtype: str = "bfloat16") -> Tensor:
    """A tensor of normal numbers."""
    return chip.tensor(np.random.default_rng(sum(shape)).standard_normal(shape), dtype)


def integers(chip: Chip, values: object) -> Tensor:
    """An integer tensor."""
    return chip.tensor(np.array(values), "int32")


def test_a_step_of_all_users_is_attention_of_each_bit_for_bit() -> None:
    chip = Chip.open("p150")
    q, k, v = random(chip, 1, 3, 4, 64), random(chip, 3, 2, 40, 64), random(chip, 3, 2, 41, 64)
    v = chip.slice(v, (0, 0, 1, 0), (3, 2, 41, 64))
    positions = [39, 0, 17]
    together = chip.scaled_dot_product_attention_decode(q, k, v, positions).to_numpy()
    for user, position in enumerate(positions):
        row = chip.reshape(chip.slice(q, (0, user, 0, 0), (1, user + 1, 4, 64)), (1, 4, 1, 64))
        own = [chip.slice(cache, (user, 0, 0, 0), (user + 1, 2, 40, 64)) for cache in (k, v)]
        alone = chip.attention(row, own[0], own[1], position)
        assert np.array_equal(together[0, user], alone.to_numpy()[0, :, 0])


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pages_give_what_a_cache_in_one_piece_gives(dtype: str) -> None:
    chip = Chip.open("p150")
    q = random(chip, 1, 2, 4, 16, dtype=dtype)
    k, v = (random(chip, 2, 2, 12, 16 + extra, dtype=dtype) for extra in (0, 16))
    v = chip.slice(v, (0, 0, 0, 16), (2, 2, 12, 32))
    pages = integers(chip, [[5, 1, 0], [3, 4, -1]])  # the second user has not reached its third
    caches = [chip.zeros((6, 2, 4, 16), dtype) for _ in "kv"]
    for cache, x in zip(caches, (k, v), strict=True):
        for user, length in ((0, 12), (1, 8)):
            part = chip.slice(x, (user, 0, 0, 0), (user + 1, 2, length, 16))
            chip.paged_fill_cache(cache, part, pages, user)
    at = integers(chip, [11, 6])
    paged = chip.paged_scaled_dot_product_attention_decode(q, caches[0], caches[1], pages, at)
    whole = chip.scaled_dot_product_attention_decode(q, k, v, [11, 6])
    assert np.array_equal(paged.to_numpy(), whole.to_numpy())


def test_a_user_without_a_position_is_left_out() -> None:
    chip = Chip.open("p150")
    q, k = random(chip, 1, 2, 4, 16), random(chip, 2, 2, 8, 16)
    out = chip.scaled_dot_product_attention_decode(q, k, k, [-1, 3]).to_numpy()
    assert not out[0, 0].any() and out[0, 1].all()


def test_later_positions_take_longer_and_a_tensor_of_them_the_time_of_a_full_cache() -> None:
    chip = Chip.open("p150", plan=True)
    q, k = chip.empty((1, 32, 32, 128)), chip.empty((32, 8, 4096, 128))
    for at in ([100] * 32, [4000] * 32, None, integers(chip, [0] * 32)):
        chip.scaled_dot_product_attention_decode(q, k, k, at)
    chip.scaled_dot_product_attention_decode(q, k, k, [4000] * 32, sliding_window_size=128)
    times = [record.sim_duration_ps for record in chip.recorder.records()]
    assert times[0] < times[1] < times[2] == pytest.approx(times[3], rel=1e-4)
    assert times[4] < times[1]


def test_what_does_not_fit_is_refused() -> None:
    chip = Chip.open("p150")
    q, k = chip.empty((1, 2, 4, 16)), chip.empty((2, 2, 8, 16))
    attend = chip.scaled_dot_product_attention_decode
    with pytest.raises(InvalidArgument, match=r"position 8 of user 1 \(expected within 0 \.\. 7"):
        attend(q, k, k, [0, 8])
    with pytest.raises(InvalidArgument, match=r"position -2 of user 0"):
        attend(q, k, k, integers(chip, [-2, 0]))
    with pytest.raises(ShapeError, match=r"1 positions \(expected 2, one a user\)"):
        attend(q, k, k, [0])
    with pytest.raises(ShapeError, match=r"cur_pos \(1, 2\) \(expected \(2,\)\)"):
        attend(q, k, k, integers(chip, [[0, 0]]))
    with pytest.raises(DTypeError, match="cur_pos is bfloat16"):
        attend(q, k, k, chip.empty((2,)))
    with pytest.raises(ShapeError, match=r"q \(2, 2, 4, 16\) \(expected \[1, B, N, H\]"):
        attend(chip.empty((2, 2, 4, 16)), k, k)
    with pytest.raises(ShapeError, match=r"expected k \[2, K, L, 16\]"):
        attend(q, chip.empty((3, 2, 8, 16)), chip.empty((3, 2, 8, 16)))
    with pytest.raises(ShapeError, match="3 query heads over 2 key-value heads"):
        attend(chip.empty((1, 2, 3, 16)), k, k)
    with pytest.raises(ShapeError, match=r"mask \(2, 4, 1, 8\) \(expected \(2, 1, 4, 8\)"):
        attend(q, k, k, attn_mask=chip.empty((2, 4, 1, 8)))
    with pytest.raises(InvalidArgument, match=r"sliding_window_size \(=-1\)"):
        attend(q, k, k, sliding_window_size=-1)
    with pytest.raises(InvalidArgument, match=r"page_table\[1, 0\] \(=7\) must be within 0 \.\. 1"):
        pages = integers(chip, [[0], [7]])
        chip.paged_scaled_dot_product_attention_decode(q, k, k, pages, [0, 3])


def test_query_heads_that_share_keys_are_rows_of_one_tile() -> None:
    """So 16 of them over one key head take no more products than one; over 16 key heads, 16."""

    def tile_ops(heads: int, kv_heads: int) -> int:
        chip = Chip.open("p150", plan=True)
        q, cache = chip.empty((1, 2, heads, 64)), chip.empty((2, kv_heads, 128, 64))
        plan = PLAIN_SDPA_DECODE.rule((99, 99), 1.0, None, None, q.spec, cache.spec, cache.spec)
        assert plan.work.flops == 4 * heads * 2 * 100 * 64
        return plan.work.num_tile_ops

    assert tile_ops(16, 1) == tile_ops(1, 1) == tile_ops(16, 16) // 16


@pytest.mark.parametrize("window", [None, 3, 9])
def test_users_at_one_position_get_the_bits_that_each_gets_alone(window: int | None) -> None:
    rng = np.random.default_rng(3)
    chip = Chip.open("p150")
    q = rng.standard_normal((1, 3, 4, 16), np.float32)
    k, v = rng.standard_normal((2, 3, 2, 9, 16), np.float32)

    def attend(users: slice, positions: list[int]) -> npt.NDArray[Any]:
        own = [chip.tensor(x, "bfloat16") for x in (q[:, users], k[users], v[users])]
        return chip.scaled_dot_product_attention_decode(
            own[0], own[1], own[2], positions, sliding_window_size=window
        ).to_numpy()

    for positions in ([6, 6, 6], [6, 2, 8], [-1, -1, -1], [8, -1, 8]):
        together = attend(slice(0, 3), positions)
        for user, position in enumerate(positions):
            alone = attend(slice(user, user + 1), [position])
            np.testing.assert_array_equal(together[:, user : user + 1], alone)
