"""Adding chunks in the order that a schedule fixes."""

from collections.abc import Sequence

from ..chip import kernels
from .plan import Words
from .schedule import Order, Sum


def evaluate(how: Sum | Order, values: Sequence[Words]) -> Words:
    """The sum of `values` (by position) that a schedule's `sums` describe.

    bfloat16 words are rounded at every addition, as chunks that travel from chip to chip in
    bfloat16 are; integers wrap around.
    """
    if isinstance(how, Order):
        parts = [values[position] for position in how.positions]
        return parts[0] if len(parts) == 1 else kernels.fold(parts)
    if isinstance(how, int):
        return values[how]
    return kernels.fold([evaluate(side, values) for side in how])
