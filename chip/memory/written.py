"""Checked mode: which elements of a tensor have been written, and reads of those that have not.

Only tensors made by `empty` are watched: every other one is written whole by what makes it.
"""

from collections.abc import Iterable
from types import EllipsisType
from typing import Any, NamedTuple
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
        self,
        chip: int,
        op: str,
        tensors: Iterable[tuple[str, tuple[int, ...], Allocation | None]],
        touches: Iterable[Touch],
    ) -> None:
        """An op reads and writes: (name, shape, allocation) of its inputs, and what it touches.

        Raises:
            UninitializedRead: it reads what nothing has written.
        """
        for (name, shape, allocation), touch in zip(tensors, touches, strict=True):
            mask = None if allocation is None else self._masks.get(allocation)
            if mask is None:
                continue
            seen = mask.reshape(shape)  # a view may have another shape
            read = seen[touch.reads]
            if not read.all():
                raise UninitializedRead(chip, op, name, read.size, int(read.size - read.sum()))
            if touch.writes is not None:
                seen[touch.writes] = True
