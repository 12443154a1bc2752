"""How values are combined when a collective reduces."""

from enum import Enum
from typing import Final

from ..chip.dtype import DType
from ..chip.errors import did_you_mean, nearest_name
from .errors import CollectiveError

REDUCIBLE: Final = (
    DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16, DType.INT32, DType.UINT32, DType.INT8, DType.UINT8
)  # fmt: skip
"""The formats of single numbers that collectives add up."""
REDUCIBLE_BLOCKS: Final = (DType.BFP8_B, DType.BFP4_B)
"""The block floats that they add up, as bfloat16, packed again each time. Others only move."""


class ReduceOp(Enum):
    """A way to combine values of several chips. Integers wrap around; NaN wins in min and max.

    MEAN is SUM, divided by the number of chips at the end; it is for float formats.
    """

    SUM = "sum"
    MIN = "min"
    MAX = "max"
    PROD = "prod"
    MEAN = "mean"

    __hash__ = object.__hash__

    @classmethod
    def parse(cls, name: "str | ReduceOp", dtype: DType) -> "ReduceOp":
        """The operation of that name, for tensors of that format.

        Raises:
            CollectiveError: no such operation, a mean of integers, or a format not added up.
        """
        if isinstance(name, ReduceOp):
            found = name
        else:
            known = [op.value for op in cls]
            if name not in known:
                hint = did_you_mean(nearest_name(name, known))
                raise CollectiveError(f"op {name!r}: no such reduction{hint} Known: {known}")
            found = cls(name)
        if found is ReduceOp.MEAN and not dtype.is_float:
            raise CollectiveError(
                f"op 'mean' of {dtype.label}: a mean needs a float format; "
                "use op='sum', or typecast to float32 first"
            )
        if dtype not in (*REDUCIBLE, *REDUCIBLE_BLOCKS):
            formats = ", ".join(kind.label for kind in (*REDUCIBLE, *REDUCIBLE_BLOCKS))
            raise CollectiveError(
                f"op {found.value!r} of {dtype.label}: collectives add up {formats}; typecast first"
            )
        return found
