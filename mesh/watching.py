"""What the watchers of a comparison share: counting ops, naming places, knowing tensors again."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from typing import Any, Generic, TypeVar

from ..chip.figures import Figures
from ..chip.tensor import Array, Tensor
from ..collectives.site import line_of
from .comparison import InputRow, OpRow
from .program import MeshChip

T = TypeVar("T")
ROOT = Path(__file__).resolve().parent.parent
OWN = tuple(f"{ROOT / floor}/" for floor in ("chip", "collectives", "mesh"))
"""Code that is not the user's program: its frames are skipped."""


class Marks(Generic[T]):
    """Something known of tensors, for as long as their memory lives.

    A tensor is known by the memory of its storage, so a view of all of it (a reshape) is known too.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], tuple[T, weakref.ref[Array]]] = {}

    def __len__(self) -> int:
        """Of how many tensors something is known."""
        return len(self._known)

    def get(self, tensor: Tensor) -> T | None:
        """What is known of a tensor's memory."""
        found = self._known.get(_key(tensor))
        return None if found is None else found[0]

    def has(self, tensor: Tensor) -> bool:
        """Is anything known of it?"""
        return _key(tensor) in self._known

    def put(self, tensor: Tensor, value: T) -> None:
        """Know this of the tensor, instead of what was known."""
        assert tensor.storage is not None
        key, known = _key(tensor), self._known
        if not key[1]:
            return

        def forget(dead: weakref.ref[Array]) -> None:
            if key in known and known[key][1] is dead:
                del known[key]

        known[key] = value, weakref.ref(_owner(tensor.storage), forget)


class Watching:
    """Counts what a chip runs, and keeps the rows of a comparison."""

    def __init__(self, chip: MeshChip) -> None:
        self.chip = chip
        self.ordinal = -1
        self.rows: list[OpRow] = []
        self.line = self.scope = ""
        self.judged: Marks[Figures | None] = Marks()

    def next_op(self) -> None:
        """An op ran: count it and note its place."""
        self.ordinal += 1
        self.line, self.scope = _user_line(), " / ".join(self.chip.labels)

    def inputs_of(self, inputs: tuple[Tensor, ...]) -> tuple[InputRow, ...]:
        """What was found of an op's inputs when they were made."""
        return tuple(InputRow(self.judged.get(tensor)) for tensor in inputs)

    def note(
        self,
        op: str,
        tensor: Tensor,
        figures: Figures | None,
        inputs: tuple[InputRow, ...],
        output: int = 0,
        is_collective: bool = False,
        **more: Any,
    ) -> None:
        """Add the row of one output; `more` are further fields of OpRow."""
        self.judged.put(tensor, figures)
        self.rows.append(
            OpRow(
                self.ordinal, op, self.chip.rank, self.line, self.scope, is_collective, output,
                tensor.dtype.label, tensor.shape, figures, inputs, **more,
            )
        )  # fmt: skip


def _owner(storage: Array) -> Array:
    """The array whose memory it is, as far as numpy knows."""
    while isinstance(storage.base, type(storage)):
        storage = storage.base
    return storage


def _key(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.storage
    assert storage is not None, "a comparison has values"
    return storage.__array_interface__["data"][0], storage.nbytes


def _user_line() -> str:
    """The line of the first frame that is not of the emulator's own floors."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(OWN):
        frame = frame.f_back
    return line_of((frame.f_code, frame.f_lasti))
