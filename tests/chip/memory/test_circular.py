from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.memory.circular import ATTENTION_BYTES, attention_buffers, matmul_buffers

BF16 = 2048
TILES = st.integers(1, 400)


def test_a_product_of_single_tiles_has_two_of_each_operand_and_one_of_the_output() -> None:
    assert matmul_buffers(1, 1, 1, (BF16, 1088, BF16)) == 2 * BF16 + 2 * 1088 + BF16


def test_a_large_product_works_on_blocks_of_eight_by_eight() -> None:
    expected = 2 * 2 * (8 + 8) * BF16 + 64 * BF16
    assert matmul_buffers(100, 100, 100, (BF16, BF16, BF16)) == expected


def test_attention_of_one_query_holds_two_chunks_of_keys_and_values() -> None:
    assert attention_buffers(1, 100, 4, BF16, BF16) == (4 * 4 + 4 * 8 * 4 + 8) * BF16


@given(TILES, TILES, TILES, st.sampled_from([576, 1088, 2048, 4096]))
def test_estimates_leave_room_in_l1_whatever_the_shape(
    rows: int, length: int, columns: int, tile: int
) -> None:
    assert 0 < matmul_buffers(rows, length, columns, (tile, tile, tile)) <= 512 << 10
    assert 0 < attention_buffers(rows, length, columns, tile, tile) <= ATTENTION_BYTES
