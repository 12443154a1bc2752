"""Putting a chip's own slices of a checkpoint on the chip, padded where they do not divide.

Only the slices that the chip keeps are read. Padding is zero, so it adds exactly zero to every
result; every chip's part of a tensor has the same shape, so all chips do the same work.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..chip.tensor import Tensor, decode
from ..mesh.program import MeshChip

Words: TypeAlias = NDArray[Any]
"""Values as a checkpoint stores them: float32, or uint16 words of bfloat16."""

Heads = Sequence[int | None]
"""The heads that a chip holds, in order; None is padding."""


def part_of(size: int, rank: int, tp_size: int) -> slice:
    """Which of `size` rows chip `rank` holds; every chip has room for ceil(size / tp_size).

    Example: 10 rows on 4 chips are 0:3, 3:6, 6:9, 9:10, with room for 3 on each.
    """
    width = width_of(size, tp_size)
    return slice(min(rank * width, size), min((rank + 1) * width, size))


def width_of(size: int, tp_size: int) -> int:
    """Room for `size` rows dealt to `tp_size` chips: ceil(size / tp_size) on each."""
    return -(-size // tp_size)


class Source(Protocol):
    """Where weights come from: a checkpoint, or only their shapes (see plan.py)."""

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a whole weight."""

    def dtype(self, name: str) -> str:
        """How it is stored: F32, BF16 or F16."""

    def read(self, name: str, rows: slice | None = None, cols: slice | None = None) -> Words:
        """A slice of it as it is stored."""

    def read_float32(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> NDArray[np.float32]:
        """A slice of it as float32."""


class Loader:
    """Reads one chip's slices of the weights, each in the dtype asked for (None: the loader's).

    Every method takes names of weights (see shapes.py), and raises CorruptCheckpoint where the
    checkpoint has no such tensor, OutOfMemory (which names the tensor) where the chip's DRAM is
    full. On a planned chip nothing is read: the tensors have shapes only.
    """

    def __init__(self, chip: MeshChip, source: Source, dtype: DType) -> None:
        self.chip, self.source, self.dtype = chip, source, dtype

    def whole(self, name: str, dtype: DType | None = None, offset: float = 0.0) -> Tensor:
        """The whole tensor; every chip holds it. `offset` is added to its values."""
        if self.chip.plan:
            return self._planned(name, self.source.shape(name), dtype)
        if offset:
            return self._adopt(name, self.source.read_float32(name) + np.float32(offset), dtype)
        return self._adopt(name, self._read(name, 0, None, self._is_words(name)), dtype)

    def rows(self, name: str, dtype: DType | None = None) -> Tensor:
        """The chip's part of dim 0, padded to ceil(size / tp_size) rows."""
        return self._part(name, 0, dtype)

    def cols(self, name: str, dtype: DType | None = None) -> Tensor:
        """The chip's part of dim 1, padded to ceil(size / tp_size) columns."""
        return self._part(name, 1, dtype)

    def head_rows(
        self,
        names: Sequence[str],
        heads: Sequence[Heads],
        head_dim: int,
        dtype: DType | None = None,
    ) -> Tensor:
        """The rows of `heads[i]` of tensor `names[i]`, one tensor after the other.

        Works for weights [num_heads * head_dim, D] and biases [num_heads * head_dim].
        """
        if self.chip.plan:
            num_rows = head_dim * sum(map(len, heads))
            return self._planned(names[0], (num_rows, *self.source.shape(names[0])[1:]), dtype)
        as_words = all(map(self._is_words, names))
        parts: list[Words] = []
        for name, wanted in zip(names, heads, strict=True):
            parts += self._heads(name, 0, wanted, head_dim, as_words)
        return self._adopt(names[0], np.concatenate(parts), dtype)

    def head_cols(
        self, name: str, heads: Heads, head_dim: int, dtype: DType | None = None
    ) -> Tensor:
        """The columns of the given heads of a weight [D, num_heads * head_dim]."""
        if self.chip.plan:
            shape = (self.source.shape(name)[0], len(heads) * head_dim)
            return self._planned(name, shape, dtype)
        as_words = self._is_words(name)
        columns = np.concatenate(self._heads(name, 1, heads, head_dim, as_words), axis=1)
        return self._adopt(name, columns, dtype)

    def stacked(self, names: Sequence[str], dim: int | None, dtype: DType) -> Tensor:
        """Tensors of one shape as one of one dim more; `dim` is cut over the chips, if given."""
        shape = list(self.source.shape(names[0]))
        tp_size = self.chip.num_chips
        part = None
        if dim is not None:
            part = part_of(shape[dim], self.chip.rank, tp_size)
            shape[dim] = width_of(shape[dim], tp_size)
        if self.chip.plan:
            return self._planned(names[0], (len(names), *shape), dtype)
        out = np.zeros((len(names), *shape), np.float32)
        for place, name in zip(out, names, strict=True):
            cuts = (part, None) if dim == 0 else (None, part)
            values = self.source.read_float32(name, *cuts)
            place[tuple(slice(size) for size in values.shape)] = values
        return self._adopt(names[0], out, dtype)

    def _part(self, name: str, dim: int, dtype: DType | None) -> Tensor:
        shape, tp_size = list(self.source.shape(name)), self.chip.num_chips
        size, shape[dim] = shape[dim], width_of(shape[dim], tp_size)
        if self.chip.plan:
            return self._planned(name, tuple(shape), dtype)
        part = part_of(size, self.chip.rank, tp_size)
        words = self._read(name, dim, part, self._is_words(name))
        return self._adopt(name, _pad(words, dim, shape[dim]), dtype)

    def _heads(
        self, name: str, dim: int, heads: Heads, head_dim: int, as_words: bool
    ) -> list[Words]:
        shape = list(self.source.shape(name))
        shape[dim] = head_dim
        blank = np.zeros(shape, np.uint16 if as_words else np.float32)
        return [
            blank
            if head is None
            else self._read(name, dim, slice(head * head_dim, (head + 1) * head_dim), as_words)
            for head in heads
        ]

    def _read(self, name: str, dim: int, part: slice | None, as_words: bool) -> Words:
        """A part of one dim of a weight (None: all of it): float32, or bfloat16 words."""
        cuts = (part, None) if dim == 0 else (None, part)
        read = self.source.read if as_words else self.source.read_float32
        return read(name, *cuts)

    def _is_words(self, name: str) -> bool:
        return self.source.dtype(name) == "BF16"

    def _adopt(self, name: str, words: Words, dtype: DType | None) -> Tensor:
        dtype = dtype or self.dtype
        if words.dtype == np.uint16 and dtype is not DType.BFLOAT16:
            words = decode(words, DType.BFLOAT16)
        return self.chip.tensor(words, dtype, what=name, copy=False)

    def _planned(self, name: str, shape: tuple[int, ...], dtype: DType | None) -> Tensor:
        return self.chip.empty(shape, dtype or self.dtype, what=name)


def _pad(words: Words, dim: int, size: int) -> Words:
    """`words` with zeros after its end along `dim`, up to `size`."""
    shape = list(words.shape)
    shape[dim] = size - words.shape[dim]
    if not shape[dim]:
        return words
    return np.concatenate([words, np.zeros(shape, words.dtype)], axis=dim)
