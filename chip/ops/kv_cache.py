"""Writing keys and values into a cache, in place.

A paged cache holds blocks of positions; a page table [B, pages] says which block holds positions
page * block .. of a user.

Legend: B users, K key-value heads, S new positions, L positions the cache can hold, H head dim.
"""

from collections.abc import Sequence

from ..conversion import COMPUTED, EVERY
from ..cost import Work
from ..dtype import DType
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..formats.codec import pack
from ..memory.written import NOTHING, Touch
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .optional import Roles, change_given
from .paging import block_of, check_page_table, check_positions, positions_of
from .shared import require_float, require_integers, require_rank


def _update_rule(
    start: int, source: DType, target: DType, cache_BKLH: TensorSpec, x_BKSH: TensorSpec
) -> Plan:
    require_rank(4, cache=cache_BKLH, x=x_BKSH)
    batch, kv_heads, capacity, width = cache_BKLH.shape
    if x_BKSH.shape[:2] != (batch, kv_heads) or x_BKSH.shape[3] != width:
        raise ShapeError(
            f"x {x_BKSH.shape} into cache {cache_BKLH.shape} "
            f"(expected x [{batch}, {kv_heads}, S, {width}])"
        )
    _check_formats(x_BKSH, cache_BKLH)
    positions = x_BKSH.shape[2]
    if start < 0 or start + positions > capacity:
        raise InvalidArgument(
            f"positions {start} .. {start + positions - 1} (expected within 0 .. {capacity - 1}, "
            "which the cache holds)"
        )
    return _write_plan(x_BKSH)


def _write_plan(x: TensorSpec) -> Plan:
    return Plan((), Work("move", 0, x.padded_bytes, x.padded_bytes, x.num_tiles, x.num_tiles))


def recoded(x: Array, source: DType, target: DType) -> Array:
    """The storage of x in the cache's format: the same, or packed from what ops compute in."""
    return x if source is target else pack(x, target)


def _update_values(
    start: int, source: DType, target: DType, cache_BKLH: Array, x_BKSH: Array
) -> None:
    cache_BKLH[:, :, start : start + x_BKSH.shape[2]] = recoded(x_BKSH, source, target)


def _update_touches(
    start: int, source: DType, target: DType, cache_BKLH: TensorSpec, x_BKSH: TensorSpec
) -> tuple[Touch, ...]:
    rows = slice(start, start + x_BKSH.shape[2])
    return Touch(NOTHING, (slice(None), slice(None), rows)), Touch()


UPDATE_CACHE = Op(
    "update_cache", _update_rule, _update_values, native=EVERY, touches=_update_touches
)


def update_cache(chip: ChipState, cache: Tensor, x: Tensor, start: int) -> None:
    """Write x [B,K,S,H] into positions start .. start+S-1 of a cache [B,K,L,H], in place.

    Raises:
        ShapeError, DTypeError: x does not fit the cache.
        InvalidArgument: the positions lie beyond it.
    """
    chip.run_many(UPDATE_CACHE, (cache, x), (start, x.dtype, cache.dtype))


def _fill_rule(
    user: int, source: DType, target: DType, cache_BKLH: TensorSpec, x: TensorSpec
) -> Plan:
    require_rank(4, cache=cache_BKLH, x=x)
    batch, capacity = cache_BKLH.shape[0], cache_BKLH.shape[2]
    _check_fill(x, cache_BKLH, capacity)
    if not 0 <= user < batch:
        raise InvalidArgument(f"user (={user}) must be within 0 .. {batch - 1}, the cache's users")
    return _write_plan(x)


def _check_fill(x: TensorSpec, cache: TensorSpec, capacity: int) -> None:
    kv_heads, width = cache.shape[1], cache.shape[3]
    if (x.shape[0], x.shape[1], x.shape[3]) != (1, kv_heads, width) or x.shape[2] > capacity:
        raise ShapeError(
            f"x {x.shape} into cache {cache.shape} "
            f"(expected x [1, {kv_heads}, S, {width}], S <= {capacity})"
        )
    _check_formats(x, cache)


def _check_formats(x: TensorSpec, cache: TensorSpec) -> None:
    if x.dtype not in (cache.dtype, cache.dtype.computed_as):
        wanted = dict.fromkeys((cache.dtype.label, cache.dtype.computed_as.label))
        raise DTypeError(
            f"x is {x.dtype} (expected {' or '.join(wanted)}, for a cache of {cache.dtype})"
        )


def _fill_values(user: int, source: DType, target: DType, cache_BKLH: Array, x: Array) -> None:
    cache_BKLH[user, :, : x.shape[2]] = recoded(x, source, target)[0]


def _fill_touches(
    user: int, source: DType, target: DType, cache_BKLH: TensorSpec, x: TensorSpec
) -> tuple[Touch, ...]:
    rows = slice(0, x.shape[2])
    return Touch(NOTHING, (slice(user, user + 1), slice(None), rows)), Touch()


FILL_CACHE = Op("fill_cache", _fill_rule, _fill_values, native=EVERY, touches=_fill_touches)


def fill_cache(chip: ChipState, cache: Tensor, x: Tensor, user: int) -> None:
    """Write x [1,K,S,H] into positions 0 .. S-1 of one user of a cache [B,K,L,H], in place.

    Raises:
        ShapeError, DTypeError: x does not fit the cache.
        InvalidArgument: the cache has no such user.
    """
    chip.run_many(FILL_CACHE, (cache, x), (user, x.dtype, cache.dtype))


Listed = tuple[int, ...]  # a position for each user


def _paged_update_rule(
    positions: Listed | None, target: DType | None, roles: Roles, *specs: TensorSpec
) -> Plan:
    given = dict(zip(roles, specs, strict=True))
    cache, x = given["cache"], given["x"]
    require_rank(4, cache=cache, x=x)
    kv_heads, capacity, width = cache.shape[1:]
    users = x.shape[1]
    if "page_table" in given:
        capacity = check_page_table(given["page_table"], users, cache)
    elif cache.shape[0] != users:
        raise ShapeError(f"x {x.shape} into cache {cache.shape} (expected {users} users in both)")
    if x.shape != (1, users, kv_heads, width):
        raise ShapeError(
            f"x {x.shape} into cache {cache.shape} (expected x [1, B, {kv_heads}, {width}])"
        )
    if x.dtype is not cache.dtype:  # the op rounds, as the chip's packer does
        require_float(cache=cache, x=x)
    if "positions" in given:
        require_integers(positions=given["positions"])
        if given["positions"].shape != (users,):
            raise ShapeError(f"positions {given['positions'].shape} (expected {(users,)})")
    elif positions is not None:
        check_positions(positions, users, capacity)
    return _write_plan(x)


def _paged_update_values(
    positions: Listed | None,
    target: DType | None,
    roles: Roles,
    cache: Array,
    x: Array,
    *others: Array,
) -> None:
    given = dict(zip(roles[2:], others, strict=True))
    page_table = given.get("page_table")
    users, block = x.shape[1], cache.shape[2]
    capacity = block if page_table is None else block * page_table.shape[1]
    found = positions_of(positions, given.get("positions"), users, capacity)
    new = x if target is None else pack(x, target)
    places = [
        (user, user, position)
        if page_table is None
        else (user, block_of(page_table, user, position // block, cache), position % block)
        for user, position in enumerate(found)
        if position >= 0
    ]
    for user, row, position in places:
        cache[row, :, position] = new[0, user]


PAGED_UPDATE_CACHE = Op(
    "paged_update_cache", _paged_update_rule, _paged_update_values, native=(EVERY, COMPUTED)
)


def _listed_rule(positions: Listed, target: DType | None, cache: TensorSpec, x: TensorSpec) -> Plan:
    return _paged_update_rule(positions, target, ("cache", "x"), cache, x)


def _listed_values(positions: Listed, target: DType | None, cache: Array, x: Array) -> None:
    new = x if target is None else pack(x, target)
    for user, position in enumerate(positions):
        if position >= 0:
            cache[user, :, position] = new[0, user]


LISTED_UPDATE_CACHE = Op(  # what a decode step asks for
    "paged_update_cache", _listed_rule, _listed_values, native=(EVERY, COMPUTED)
)


def paged_update_cache(
    chip: ChipState,
    cache: Tensor,
    x: Tensor,
    positions: Sequence[int] | Tensor,
    page_table: Tensor | None = None,
) -> None:
    """Write x [1,B,K,H] into one position of each user of a cache, in place.

    The cache is [B,K,L,H], or with a page table [B, pages] of blocks [blocks,K,block,H]. x may be
    another float format than the cache: it is rounded once.

    Args:
        positions: one for each user, or an integer tensor [B] of them; -1 leaves a user out.
    Raises:
        ShapeError, DTypeError: x, positions or the page table do not fit.
        InvalidArgument: a position lies beyond the cache, or its page is no block of it.
    """
    is_as_held = x.dtype is cache.dtype and x.dtype.computes
    target = None if is_as_held else cache.dtype
    if page_table is None and not isinstance(positions, Tensor):
        chip.run_many(LISTED_UPDATE_CACHE, (cache, x), (tuple(positions), target))
        return
    listed = None if isinstance(positions, Tensor) else tuple(positions)
    tensor = positions if isinstance(positions, Tensor) else None
    inputs = {"cache": cache, "x": x, "positions": tensor, "page_table": page_table}
    change_given(chip, PAGED_UPDATE_CACHE, (listed, target), **inputs)


def _paged_fill_rule(user: int, cache: TensorSpec, x: TensorSpec, page_table: TensorSpec) -> Plan:
    require_rank(4, cache=cache, x=x)
    users = page_table.shape[0] if page_table.shape else 0
    capacity = check_page_table(page_table, users, cache)
    _check_fill(x, cache, capacity)
    if not 0 <= user < users:
        raise InvalidArgument(f"user (={user}) must be within 0 .. {users - 1}, the page table's")
    return _write_plan(x)


def _paged_fill_values(user: int, cache: Array, x: Array, page_table: Array) -> None:
    block, length = cache.shape[2], x.shape[2]
    starts = range(0, length, block)
    blocks = [block_of(page_table, user, start // block, cache) for start in starts]
    for index, start in zip(blocks, starts, strict=True):
        part = x[0, :, start : start + block]
        cache[index, :, : part.shape[1]] = part


PAGED_FILL_CACHE = Op("paged_fill_cache", _paged_fill_rule, _paged_fill_values)


def paged_fill_cache(
    chip: ChipState, cache: Tensor, x: Tensor, page_table: Tensor, user: int = 0
) -> None:
    """Write x [1,K,S,H] into positions 0 .. S-1 of one user of a paged cache, in place.

    The cache is [blocks,K,block,H], the page table [B, pages].

    Raises:
        ShapeError, DTypeError: x or the page table do not fit the cache.
        InvalidArgument: there is no such user, or a page is no block of the cache.
    """
    chip.run_many(PAGED_FILL_CACHE, (cache, x, page_table), (user,))
