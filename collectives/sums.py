"""Adding chunks in the order that a schedule fixes."""

from collections.abc import Callable

from ..chip import kernels
from .plan import Words
from .schedule import Sum, left_fold


def evaluate(how: Sum, leaf: Callable[[int], Words]) -> Words:
    """The sum that a schedule's `contributions` describe, of the values `leaf(position)`.

    bfloat16 words are rounded at every addition, as chunks that travel from chip to chip in
    bfloat16 are; integers wrap around.
    """
    order = left_fold(how)
    if order is not None:
        parts = [leaf(position) for position in order]
        return parts[0] if len(parts) == 1 else kernels.fold(parts)
    assert isinstance(how, tuple)
    return kernels.fold([evaluate(side, leaf) for side in how])
