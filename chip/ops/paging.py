"""Positions of users, and the pages that hold them in a paged cache [blocks, K, block, H].

A page table [B, pages] names the block of each page of each user; what pages a user does not reach
yet name does not matter (-1, say).
"""

from collections.abc import Sequence

import numpy as np

from ..errors import InvalidArgument, ShapeError
from ..tensor import Array, TensorSpec
from .shared import require_integers, require_rank


def check_page_table(page_table: TensorSpec, users: int, cache: TensorSpec) -> int:
    """The positions that a user's pages hold.

    Raises:
        ShapeError: the table has not one row a user. DTypeError: it does not hold integers.
    """
    require_integers(page_table=page_table)
    require_rank(2, page_table=page_table)
    if page_table.shape[0] != users:
        raise ShapeError(f"page_table {page_table.shape} (expected {users} rows, one a user)")
    return page_table.shape[1] * cache.shape[2]


def check_positions(positions: Sequence[int], users: int, capacity: int) -> None:
    """Raise unless there is a position for each user, -1 (none) or in the cache."""
    if len(positions) != users:
        raise ShapeError(f"{len(positions)} positions (expected {users}, one a user)")
    for user, position in enumerate(positions):
        if not -1 <= position < capacity:
            raise InvalidArgument(
                f"position {position} of user {user} (expected within 0 .. {capacity - 1}, which "
                "the cache holds, or -1 for none)"
            )


def positions_of(
    listed: Sequence[int] | None, tensor: Array | None, users: int, capacity: int
) -> list[int]:
    """The positions of a call, from a list (checked by its rule) or a tensor (checked here).

    With neither, every user stands at the cache's last position.
    """
    if tensor is not None:
        found = [int(position) for position in tensor.astype(np.int64)]
        check_positions(found, users, capacity)
        return found
    return [capacity - 1] * users if listed is None else list(listed)


def block_of(page_table: Array, user: int, page: int, cache: Array) -> int:
    """The block of a user's page.

    Raises:
        InvalidArgument: the cache has no such block.
    """
    block = int(page_table[user, page])
    if not 0 <= block < cache.shape[0]:
        raise InvalidArgument(
            f"page_table[{user}, {page}] (={block}) must be within 0 .. {cache.shape[0] - 1}, the "
            "cache's blocks"
        )
    return block


def gather(cache: Array, page_table: Array, user: int, length: int) -> Array:
    """A user's first positions out of a paged cache, side by side: [K, length, H]."""
    kv_heads, block, width = cache.shape[1:]
    pages = [block_of(page_table, user, page, cache) for page in range(-(-length // block))]
    whole = cache[pages].transpose(1, 0, 2, 3).reshape(kv_heads, -1, width)
    return np.ascontiguousarray(whole[:, :length])
