"""Between the rows of a projection and attention heads, as ttnn's nlp_create_qkv_heads and back.

Legend: B batch, S sequence, N query heads, K key-value heads, H head dim.
"""

from ..cost import Work
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .shared import like, move_plan, require_rank


def _create_rule(num_heads: int, num_kv_heads: int, x: TensorSpec) -> Plan:
    require_rank(3, x=x)
    batch, positions, width = x.shape
    parts = num_heads + 2 * num_kv_heads
    if num_heads < 1 or num_kv_heads < 1 or width % parts:
        raise ShapeError(
            f"x {x.shape} as {num_heads} query and 2 x {num_kv_heads} key-value heads: {width} "
            f"columns (expected a multiple of {parts})"
        )
    head = width // parts
    query = like(x, (batch, num_heads, positions, head))
    kv = like(x, (batch, num_kv_heads, positions, head))
    outputs = (query, kv, kv)
    tiles = sum(spec.num_tiles for spec in outputs)
    written = sum(spec.padded_bytes for spec in outputs)
    return Plan(outputs, Work("move", 0, x.padded_bytes, written, tiles, tiles))


def _create_values(num_heads: int, num_kv_heads: int, x: Array) -> tuple[Array, Array, Array]:
    batch, positions, _ = x.shape
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

    Returns: q [B,N,S,H], k [B,K,S,H], v [B,K,S,H].

    Raises:
        ShapeError: the columns do not divide into N + 2K heads.
    """
    q, k, v = chip.run_many(CREATE_HEADS, (x,), (num_heads, num_kv_heads))
    return q, k, v


def _concat_rule(x: TensorSpec) -> Plan:
    require_rank(4, x=x)
    batch, heads, positions, head = x.shape
    return move_plan(like(x, (batch, positions, heads * head)), x.padded_bytes)


def _concat_values(x: Array) -> Array:
    batch, heads, positions, head = x.shape
    return x.transpose(0, 2, 1, 3).copy().reshape(batch, positions, heads * head)


CONCAT_HEADS = Op("concat_heads", _concat_rule, _concat_values)


def concat_heads(chip: ChipState, x: Tensor) -> Tensor:
    """Lay the heads of x [B,N,S,H] side by side: [B,S,N H]."""
    return chip.run(CONCAT_HEADS, (x,))
