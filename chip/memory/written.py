"""Checked mode: which elements of a tensor have been written, and reads of those that have not.

Only tensors made by `empty` are watched: every other one is written whole by what makes it.
"""

from collections.abc import Iterable
from types import EllipsisType
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..errors import UninitializedRead
from .banks import Allocation

Region = tuple[slice | EllipsisType, ...]
"""Elements of a tensor, as an index of numpy."""
WHOLE: Region = (...,)
NOTHING: Region = (slice(0, 0),)

POISON_WORD = 0xDEADBEEF
"""What memory that nobody wrote holds, as integers; as floats it is NaN."""


class Holding(Protocol):
    """A tensor, as far as it matters here."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    allocation: Allocation | None

    def named(self) -> str:
        """What errors call it."""


class Touch(NamedTuple):
    """What an op does with one of its inputs."""

    reads: Region = WHOLE
    writes: Region | None = None


def poison(storage: npt.NDArray[Any], is_float: bool) -> None:
    """Fill a storage with what nobody wrote: NaN, or the bytes of 0xDEADBEEF."""
    if storage.dtype.kind == "f":
        storage.fill(np.nan)
    elif is_float:
        storage.fill(np.iinfo(storage.dtype).max)  # all ones: a NaN in bfloat16
    else:
        storage.view(np.dtype(f"u{storage.itemsize}")).fill(
            POISON_WORD & ((1 << 8 * storage.itemsize) - 1)
        )


class WrittenElements:
    """The elements that have been written, of each allocation that began with none."""

    def __init__(self) -> None:
        self._masks: WeakKeyDictionary[Allocation, npt.NDArray[np.bool_]] = WeakKeyDictionary()

    def begin(self, allocation: Allocation, shape: tuple[int, ...]) -> None:
        """Nothing of this tensor is written yet."""
        self._masks[allocation] = np.zeros(shape, np.bool_)

    def touch(
        self, chip: int, op: str, inputs: Iterable[Holding], touches: Iterable[Touch]
    ) -> None:
        """An op reads and writes some of its inputs.

        Raises:
            UninitializedRead: it reads what nothing has written.
        """
        for tensor, touch in zip(inputs, touches, strict=True):
            mask = None if tensor.allocation is None else self._masks.get(tensor.allocation)
            if mask is None:
                continue
            seen = mask.reshape(tensor.shape)  # a view may have another shape
            read = seen[touch.reads]
            if not read.all():
                missing = int(read.size - read.sum())
                raise UninitializedRead(chip, op, tensor.named(), read.size, missing)
            if touch.writes is not None:
                seen[touch.writes] = True
