import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument, ShapeError
from meshtwin.chip.tensor import Tensor


def ones(chip: Chip, *shape: int, dtype: str = "bfloat16") -> Tensor:
    """A tensor of ones."""
    return chip.tensor(np.ones(shape), dtype)


def integers(chip: Chip, values: object) -> Tensor:
    """An integer tensor."""
    return chip.tensor(np.array(values), "int32")


def test_update_cache_writes_only_its_positions() -> None:
    chip = Chip.open("p150")
    cache = chip.zeros((1, 1, 4, 2), DType.BFLOAT16)
    chip.update_cache(cache, ones(chip, 1, 1, 2, 2), 1)
    assert cache.to_numpy()[0, 0, :, 0].tolist() == [0, 1, 1, 0]


def test_a_step_is_rounded_to_the_format_of_the_cache() -> None:
    chip = Chip.open("p150")
    cache = chip.zeros((1, 1, 2, 1), "bf16")
    chip.paged_update_cache(cache, chip.tensor(np.full((1, 1, 1, 1), 257.0)), [1])
    assert cache.to_numpy().ravel().tolist() == [0, 256]


@pytest.mark.parametrize("held", ["bfp8_b", "bfp4_b", "float16", "float32"])
@pytest.mark.parametrize("given", ["bfloat16", "float32", "bfp8_b"])
def test_a_step_writes_its_rows_in_the_format_of_the_cache_and_no_others(
    held: str, given: str
) -> None:
    rng = np.random.default_rng(5)
    chip = Chip.open("p150")
    cache = chip.tensor(rng.standard_normal((2, 3, 4, 48)), held)
    x = chip.tensor(rng.standard_normal((1, 2, 3, 48)), given)
    assert cache.storage is not None
    before, expected = cache.storage.copy(), chip.typecast(x, held).to_numpy()
    chip.paged_update_cache(cache, x, [2, -1])
    np.testing.assert_array_equal(cache.to_numpy()[0, :, 2], expected[0, 0])
    before[0, :, 2] = cache.storage[0, :, 2]
    np.testing.assert_array_equal(cache.storage, before)


def test_a_bad_page_leaves_the_cache_as_it_was() -> None:
    chip = Chip.open("p150")
    cache = chip.zeros((2, 1, 2, 1))
    pages = integers(chip, [[0, 1], [2, 1]])
    with pytest.raises(InvalidArgument, match=r"page_table\[1, 0\] \(=2\) must be within 0 \.\. 1"):
        chip.paged_update_cache(cache, ones(chip, 1, 2, 1, 1), [0, 0], pages)
    pages = integers(chip, [[0, -1]])
    with pytest.raises(InvalidArgument, match=r"page_table\[0, 1\] \(=-1\)"):
        chip.paged_fill_cache(cache, ones(chip, 1, 1, 3, 1), pages)
    assert not cache.to_numpy().any()


def test_what_does_not_fit_the_cache_is_refused() -> None:
    chip = Chip.open("p150", rank=2)
    cache, x = chip.empty((1, 2, 4, 16)), chip.empty((1, 2, 3, 16))
    with pytest.raises(InvalidArgument, match=r"positions 2 \.\. 4 \(expected within 0 \.\. 3"):
        chip.update_cache(cache, x, 2)
    with pytest.raises(InvalidArgument, match=r"positions -1 \.\. 1"):
        chip.update_cache(cache, x, -1)
    with pytest.raises(DTypeError, match="x is float32"):
        chip.update_cache(cache, chip.empty((1, 2, 3, 16), DType.FLOAT32), 0)
    with pytest.raises(ShapeError, match=r"expected x \[1, 2, S, 16\]"):
        chip.update_cache(cache, chip.empty((1, 1, 3, 16)), 0)
    with pytest.raises(InvalidArgument, match=r"chip 2, fill_cache: user \(=1\) must be within"):
        chip.fill_cache(cache, x, 1)
    with pytest.raises(ShapeError, match=r"expected x \[1, 2, S, 16\], S <= 4"):
        chip.fill_cache(cache, chip.empty((1, 2, 5, 16)), 0)
    with pytest.raises(DTypeError, match="x is float32"):
        chip.fill_cache(cache, chip.empty((1, 2, 3, 16), DType.FLOAT32), 0)


def test_what_does_not_fit_the_pages_is_refused() -> None:
    chip = Chip.open("p150")
    cache, x = chip.empty((3, 2, 4, 16)), chip.empty((1, 2, 2, 16))
    pages = integers(chip, [[0], [1]])
    update = chip.paged_update_cache
    with pytest.raises(InvalidArgument, match=r"position 4 of user 1 \(expected within 0 \.\. 3"):
        update(cache, x, [0, 4], pages)
    with pytest.raises(InvalidArgument, match="position -5 of user 0"):
        update(cache, x, integers(chip, [-5, 4]), pages)
    with pytest.raises(ShapeError, match=r"positions \(3,\) \(expected \(2,\)\)"):
        update(cache, x, integers(chip, [0, 0, 0]), pages)
    with pytest.raises(ShapeError, match="expected 2 users in both"):
        update(cache, x, [0, 0])
    with pytest.raises(ShapeError, match=r"expected x \[1, B, 2, 16\]"):
        update(cache, chip.empty((1, 2, 3, 16)), [0, 0], pages)
    with pytest.raises(DTypeError, match="x is int32"):
        update(cache, chip.empty((1, 2, 2, 16), "int32"), [0, 0], pages)
    with pytest.raises(InvalidArgument, match=r"user \(=2\) must be within 0 \.\. 1"):
        chip.paged_fill_cache(cache, chip.empty((1, 2, 4, 16)), pages, 2)
    with pytest.raises(ShapeError, match=r"S <= 4"):
        chip.paged_fill_cache(cache, chip.empty((1, 2, 5, 16)), pages, 0)
