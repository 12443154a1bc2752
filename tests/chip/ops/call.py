"""A call of an op as a value: what goes in, how it is called, and what must come out.

Each family of ops has a file in `calls/` with `CALLS`: a Hypothesis strategy of calls by op name
(the name of the method of `Chip`). test_every_op.py runs them all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis.strategies import SearchStrategy

from meshtwin.chip.chip import Chip
from meshtwin.chip.tensor import Layout, Tensor

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Input:
    """A tensor that goes in: values (rounded to the dtype when it is put on the chip)."""

    values: Array
    dtype: str = "bfloat16"
    layout: Layout | None = None


@dataclass(frozen=True)
class Call:
    """One call.

    Attributes:
        run: calls the op on the tensors of `inputs`, in their order.
        expected: the right outputs, from the inputs as the chip holds them (float64, or int64).
        ulps: how far an output may be off, in units in the last place of its dtype (integers: 0).
        absolute: and beside that, for sums that cancel: a plain distance.
    """

    inputs: tuple[Input, ...]
    run: Callable[[Chip, Sequence[Tensor]], Tensor | tuple[Tensor, ...]]
    expected: Callable[..., Array | tuple[Array, ...]]
    ulps: float = 0.5
    absolute: float = 0.0


Calls = dict[str, SearchStrategy[Call]]


def put(chip: Chip, given: Input) -> Tensor:
    """The tensor of an input; in plan mode it has no values."""
    return chip.tensor(given.values, given.dtype, given.layout)


def seen(tensor: Tensor) -> Array:
    """What a tensor holds, as float64 or int64."""
    values = tensor.to_numpy()
    return values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
