"""Circular buffers: what an op's kernels take of every core's L1 while they run.

They lie at the bottom of L1, tensors at its top. How large they are is each kernel's own affair and
changes with every version; these are estimates after the structure that ttnn's kernels share: two
pages, or blocks, of each input, so that one is filled while the other is read, and the block of the
output that a core works on.
"""

BLOCK_TILES = 8
"""Most tiles of a side of the output block that a core of a product works on."""
STEP_TILES = 2
"""Tiles of K that go through at a time (in0_block_w)."""
QUERY_TILES, KEY_TILES = 4, 8
"""Rows of tiles of a chunk of queries, and of keys, of attention (chunks of 128 and 256)."""
ATTENTION_BYTES = 1 << 20
"""Most that attention is taken to use of a core."""


def matmul_buffers(rows: int, length: int, columns: int, tile_bytes: tuple[int, int, int]) -> int:
    """Bytes of a core for a product of [rows, length] x [length, columns], all in tiles.

    Two blocks of each operand of at most BLOCK_TILES x STEP_TILES, and one of the output. As in
    ttnn's multicast matmuls (bmm_op_multi_core_reuse_mcast_2d), without the partial sums.

    Args:
        tile_bytes: of a, b and the output.
    """
    a, b, out = tile_bytes
    height, width = min(rows, BLOCK_TILES), min(columns, BLOCK_TILES)
    step = min(length, STEP_TILES)
    return 2 * step * (height * a + width * b) + height * width * out


def attention_buffers(queries: int, keys: int, width: int, q_bytes: int, kv_bytes: int) -> int:
    """Bytes of a core for attention of `queries` x `keys` rows of tiles, `width` tiles wide.

    Two chunks of queries, keys and values, the scores of one chunk, and the output with its partial
    sums: as in ttnn's flash attention (sdpa_program_factory), without its statistics. Chunks of
    keys are halved until all is within ATTENTION_BYTES.

    Args:
        q_bytes: of a tile of q, the scores and the output.
        kv_bytes: of a tile of k and v.
    """
    q, k = min(queries, QUERY_TILES), min(keys, KEY_TILES)
    while True:
        total = 4 * q * width * q_bytes + 4 * k * width * kv_bytes + q * k * q_bytes
        if total <= ATTENTION_BYTES or k <= 1:
            return min(total, ATTENTION_BYTES)
        k //= 2
