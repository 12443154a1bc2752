import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.accumulate import Product, as_bfloat16, rounded, summed
from meshtwin.chip.compute_config import ComputeConfig
from meshtwin.chip.tensor import Floats


def parts(*numbers: float) -> Product:
    """A product whose elements are these numbers, one for every step of 32 of K."""

    def product(start: int, stop: int) -> Floats:
        assert start % 32 == 0 and stop % 32 == 0
        return np.array([sum(numbers[start // 32 : stop // 32])], np.float32)

    return product


ONE_BIT = 2.0**-7  # the last bit of a bfloat16 number from 1 to 2
TINY = ONE_BIT / 4


@given(st.integers(0, 300), st.sampled_from([None, 32, 64, 4096]), st.booleans())
def test_every_product_is_summed_once(length: int, k_block: int | None, in_l1: bool) -> None:
    seen: list[int] = []

    def product(start: int, stop: int) -> Floats:
        seen.extend(range(start, stop))
        return np.array([stop - start], np.float32)

    for accumulate in ("float32", "bfloat16"):
        seen.clear()
        config = ComputeConfig(packer_l1_acc=in_l1, k_block=k_block).but(accumulate=accumulate)
        total = summed(product, length, config)
        assert seen == list(range(length))
        assert abs(total[0] - length) <= (length // 2**7 if accumulate == "bfloat16" else 2)


def test_a_bfloat16_accumulator_is_rounded_at_every_step() -> None:
    product = parts(1, TINY, TINY, TINY, TINY)
    assert summed(product, 160, ComputeConfig())[0] == 1 + 4 * TINY
    assert summed(product, 160, ComputeConfig(accumulate="bfloat16"))[0] == 1


def test_partial_sums_are_rounded_where_a_block_ends() -> None:
    product = parts(1, TINY, TINY, TINY, TINY, TINY, TINY, TINY)
    in_dest = ComputeConfig(k_block=64)
    # 1 + t -> 1, + 2 t -> a tie, to even: 1, ..., and the last block is not packed
    assert summed(product, 256, in_dest)[0] == 1 + 2 * TINY
    # away from zero: 1 + 2 t -> 1 + one bit, twice
    assert summed(product, 256, in_dest.but(rounding="packer"))[0] == 1 + 2 * ONE_BIT + 2 * TINY
    assert summed(product, 256, in_dest.but(fp32_dest_acc=True))[0] == 1 + 7 * TINY


def test_sums_in_l1_do_not_pass_the_accumulator_until_the_last_block() -> None:
    # blocks of 1, and of 3 steps that the rounded accumulator alone would lose
    product = parts(1, 0, TINY, TINY, TINY, TINY, TINY, TINY)
    dest = ComputeConfig(k_block=64, accumulate="bfloat16")
    assert summed(product, 256, dest)[0] == 1
    in_l1 = dest.but(packer_l1_acc=True)
    assert summed(parts(1, 0, 0.75 * ONE_BIT, 0, 0, 0), 192, in_l1)[0] == 1 + ONE_BIT
    assert summed(product, 256, in_l1)[0] == 1  # two blocks of half a bit: ties to even
    wide = ComputeConfig(k_block=64, packer_l1_acc=True, fp32_dest_acc=True)
    assert summed(product, 256, wide)[0] == 1 + 6 * TINY


def test_sums_are_rounded_as_asked() -> None:
    tie = np.array([1 + ONE_BIT / 2], np.float32)
    words = np.empty(0, np.uint16)
    assert as_bfloat16(tie)[0] == 1
    assert as_bfloat16(tie, "packer")[0] == 1 + ONE_BIT
    assert rounded(tie, words, "nearest_even")[0] == 0x3F80
    assert rounded(tie, words, "packer")[0] == 0x3F81
    assert rounded(tie, tie, "packer") is tie
