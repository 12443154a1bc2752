"""Looking rows up in a table."""

import numpy as np

from ..errors import DTypeError, InvalidArgument
from ..state import ChipState, Op, Plan
from ..tensor import Array, Layout, Tensor, TensorSpec
from .shared import like, move_plan, require_float, require_rank


def _rule(first_row: int, layout: Layout | None, ids: TensorSpec, table: TensorSpec) -> Plan:
    require_float(table=table)
    require_rank(2, table=table)
    if ids.dtype.is_float:
        raise DTypeError(f"ids are {ids.dtype} (expected int32 or uint32)")
    if first_row < 0:
        raise InvalidArgument(f"first_row (={first_row}) must be >= 0")
    output = like(table, (*ids.shape, table.shape[1]), layout=layout)
    return move_plan(output, ids.padded_bytes + ids.size * table.dtype.row_bytes(table.shape[1]))


def _values(first_row: int, layout: Layout | None, ids: Array, table: Array) -> Array:
    wanted = ids.astype(np.int64) - first_row
    if ids.size and ids.min() < 0:
        raise InvalidArgument(f"an id (={ids.min()}) must be >= 0")
    absent = (wanted < 0) | (wanted >= table.shape[0])
    if not absent.any():
        return np.take(table, wanted, axis=0)
    if not table.shape[0]:
        return np.zeros((*ids.shape, table.shape[1]), table.dtype)
    out = np.take(table, np.where(absent, 0, wanted), axis=0)
    out[absent] = 0
    return out


EMBEDDING = Op("embedding", _rule, _values)


def embedding(
    chip: ChipState,
    ids: Tensor,
    table: Tensor,
    first_row: int = 0,
    *,
    layout: Layout | None = None,
) -> Tensor:
    """Take rows of a table [V,D]: ids [...] -> [..., D].

    With a table cut by rows over chips, `first_row` is the id of this chip's first row. Ids outside
    first_row .. first_row + V - 1 give zeros, so the sum over the chips is the lookup in the whole
    table.

    Args:
        layout: of the result; None: the table's.
    Raises:
        InvalidArgument: an id is negative.
        DTypeError: the ids are floats.
    """
    return chip.run(EMBEDDING, (ids, table), (first_row, layout))
