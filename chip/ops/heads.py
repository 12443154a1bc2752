"""Between the rows of a projection and attention heads, as ttnn's nlp_create_qkv_heads and back.

Legend: B batch, S sequence, N query heads, K key-value heads, H head dim.
"""

from ..cost import Work
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import like, num_tile_rows, require_rank


def _create_rule(num_heads: int, num_kv_heads: int, x: TensorSpec) -> Plan:
    if len(x.shape) != 3 and (len(x.shape) != 4 or x.shape[1] != 1):
        raise ShapeError(f"x {x.shape} (expected [B, S, columns] or [B, 1, S, columns])")
    head = _head_width(x, num_heads, num_kv_heads)
    query = like(x, (x.shape[0], num_heads, x.shape[-2], head))
    kv = like(x, (x.shape[0], num_kv_heads, x.shape[-2], head))
    return _heads_plan((query, kv, kv), (x,), x)


def _head_width(x: TensorSpec, num_heads: int, num_kv_heads: int) -> int:
    parts = num_heads + 2 * num_kv_heads
    if num_heads < 1 or num_kv_heads < 1 or x.shape[-1] % parts:
        raise ShapeError(
            f"x {x.shape} as {num_heads} query and 2 x {num_kv_heads} key-value heads: "
            f"{x.shape[-1]} columns (expected a multiple of {parts})"
        )
    return x.shape[-1] // parts


def _heads_plan(
    outputs: tuple[TensorSpec, ...], inputs: tuple[TensorSpec, ...], whole: TensorSpec
) -> Plan:
    """The plan of an op between heads and `whole`, where they lie side by side: a row of tiles of
    `whole` is one piece of work, as the vendor's kernels have it.
    """
    tiles = sum(spec.num_tiles for spec in outputs)
    written = sum(spec.padded_bytes for spec in outputs)
    read = sum(spec.padded_bytes for spec in inputs)
    return Plan(outputs, Work("move", 0, read, written, tiles, num_tile_rows(whole)))


def _create_values(num_heads: int, num_kv_heads: int, x: Array) -> tuple[Array, Array, Array]:
    batch, positions = x.shape[0], x.shape[-2]
    heads = x.reshape(batch, positions, num_heads + 2 * num_kv_heads, -1).transpose(0, 2, 1, 3)
    ends = num_heads, num_heads + num_kv_heads
    return (
        heads[:, : ends[0]].copy(),
        heads[:, ends[0] : ends[1]].copy(),
        heads[:, ends[1] :].copy(),
    )


CREATE_HEADS = Op("create_heads", _create_rule, _create_values)


def create_heads(
    chip: ChipState, x: Tensor, num_heads: int, num_kv_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split x [B,S,(N+2K)H], query heads first, then key, then value heads, into heads.

    x may also be [B,1,S,(N+2K)H], as ttnn has it.

    Returns: q [B,N,S,H], k [B,K,S,H], v [B,K,S,H].

    Raises:
        ShapeError: the columns do not divide into N + 2K heads.
    """
    q, k, v = chip.run_many(CREATE_HEADS, (x,), (num_heads, num_kv_heads))
    return q, k, v


def _create_decode_rule(num_heads: int, num_kv_heads: int, x: TensorSpec) -> Plan:
    require_rank(4, x=x)
    if x.shape[:2] != (1, 1):
        raise ShapeError(f"x {x.shape} (expected [1, 1, B, columns])")
    head = _head_width(x, num_heads, num_kv_heads)
    query = like(x, (1, x.shape[2], num_heads, head))
    kv = like(x, (1, x.shape[2], num_kv_heads, head))
    return _heads_plan((query, kv, kv), (x,), x)


def _create_decode_values(
    num_heads: int, num_kv_heads: int, x: Array
) -> tuple[Array, Array, Array]:
    parts = num_heads + 2 * num_kv_heads
    heads = x.reshape(1, x.shape[2], parts, x.shape[3] // parts)
    ends = num_heads, num_heads + num_kv_heads
    return (
        heads[:, :, : ends[0]].copy(),
        heads[:, :, ends[0] : ends[1]].copy(),
        heads[:, :, ends[1] :].copy(),
    )


CREATE_HEADS_DECODE = Op("create_heads_decode", _create_decode_rule, _create_decode_values)


def create_heads_decode(
    chip: ChipState, x: Tensor, num_heads: int, num_kv_heads: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Split x [1,1,B,(N+2K)H], one position of B users, into heads.

    Returns: q [1,B,N,H], k [1,B,K,H], v [1,B,K,H].

    Raises:
        ShapeError: x has other dims; the columns do not divide into N + 2K heads.
    """
    q, k, v = chip.run_many(CREATE_HEADS_DECODE, (x,), (num_heads, num_kv_heads))
    return q, k, v


def _split_rule(num_heads: int, num_kv_heads: int, transpose_key: bool, *specs: TensorSpec) -> Plan:
    x = specs[0]
    for name, spec in zip(("x", "kv"), specs, strict=False):
        require_rank(3, **{name: spec})
    if len(specs) == 1:
        head = _head_width(x, num_heads, num_kv_heads)
    else:
        if num_heads < 1 or num_kv_heads < 1 or x.shape[2] % num_heads:
            raise ShapeError(
                f"x {x.shape} as {num_heads} query heads beside {num_kv_heads} key-value heads "
                f"(expected columns that are a multiple of {num_heads})"
            )
        head = x.shape[2] // num_heads
        wanted = (*x.shape[:2], 2 * num_kv_heads * head)
        if specs[1].shape != wanted or specs[1].dtype is not x.dtype:
            raise ShapeError(f"kv {specs[1]} (expected {x.dtype} {wanted}, as x is {x.shape})")
    batch, positions = x.shape[:2]
    query = like(x, (batch, num_heads, positions, head))
    value = like(x, (batch, num_kv_heads, positions, head))
    key = like(x, (batch, num_kv_heads, head, positions)) if transpose_key else value
    return _heads_plan((query, key, value), specs, specs[0])


def _split_values(
    num_heads: int, num_kv_heads: int, transpose_key: bool, *arrays: Array
) -> tuple[Array, ...]:
    if len(arrays) == 1:
        query, key, value = _create_values(num_heads, num_kv_heads, arrays[0])
    else:
        batch, positions, _ = arrays[0].shape
        parts = (
            array.reshape(batch, positions, count, -1).transpose(0, 2, 1, 3)
            for array, count in zip(arrays, (num_heads, 2 * num_kv_heads), strict=True)
        )
        first, rest = parts
        query, key, value = (
            part.copy(order="C") for part in (first, rest[:, :num_kv_heads], rest[:, num_kv_heads:])
        )
    return query, key.swapaxes(2, 3).copy(order="C") if transpose_key else key, value


SPLIT_QUERY_KEY_VALUE = Op("split_query_key_value", _split_rule, _split_values)


def split_query_key_value(
    chip: ChipState,
    x: Tensor,
    kv: Tensor | None = None,
    *,
    num_heads: int,
    num_kv_heads: int | None = None,
    transpose_key: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Split x [B,S,(N+2K)H] into heads, or x [B,S,N H] and kv [B,S,2K H], keys first.

    This is ttnn.transformer.split_query_key_value_and_split_heads.

    Args:
        num_kv_heads: K; None: N.
        transpose_key: whether k is [B,K,H,S], ready for q . k.
    Returns: q [B,N,S,H], k [B,K,H,S] or [B,K,S,H], v [B,K,S,H].

    Raises:
        ShapeError: the columns do not divide into the heads, or kv does not fit x.
    """
    inputs = (x,) if kv is None else (x, kv)
    params = (num_heads, num_heads if num_kv_heads is None else num_kv_heads, transpose_key)
    q, k, v = chip.run_many(SPLIT_QUERY_KEY_VALUE, inputs, params)
    return q, k, v


def _concat_rule(x: TensorSpec) -> Plan:
    require_rank(4, x=x)
    batch, heads, positions, head = x.shape
    output = like(x, (batch, positions, heads * head))
    return _heads_plan((output,), (x,), output)


def _concat_values(x: Array) -> Array:
    batch, heads, positions, head = x.shape
    return x.transpose(0, 2, 1, 3).copy().reshape(batch, positions, heads * head)


CONCAT_HEADS = Op("concat_heads", _concat_rule, _concat_values)


def concat_heads(chip: ChipState, x: Tensor) -> Tensor:
    """Lay the heads of x [B,N,S,H] side by side: [B,S,N H]."""
    return chip.run(CONCAT_HEADS, (x,))


def _concat_decode_rule(x: TensorSpec) -> Plan:
    require_rank(4, x=x)
    one, users, heads, head = x.shape
    if one != 1:
        raise ShapeError(f"x {x.shape} (expected [1, B, N, H])")
    output = like(x, (1, 1, users, heads * head))
    return _heads_plan((output,), (x,), output)


def _concat_decode_values(x: Array) -> Array:
    _, users, heads, head = x.shape
    return x.reshape(1, 1, users, heads * head).copy()


CONCAT_HEADS_DECODE = Op("concat_heads_decode", _concat_decode_rule, _concat_decode_values)


def concat_heads_decode(chip: ChipState, x: Tensor) -> Tensor:
    """Lay the heads of x [1,B,N,H], one position of B users, side by side: [1,1,B,N H].

    Raises:
        ShapeError: x has other dims.
    """
    return chip.run(CONCAT_HEADS_DECODE, (x,))
