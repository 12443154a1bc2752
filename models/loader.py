"""Putting a chip's own slices of a checkpoint on the chip, padded where they do not divide.

Only the slices that the chip keeps are read. Padding is zero, so it adds exactly zero to every
result; every chip's part of a tensor has the same shape, so all chips do the same work.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..chip.tensor import Tensor, encode
from ..mesh.program import MeshChip
from .weights import Checkpoint

Words = NDArray[np.generic]
"""Values as the chip stores them: float32, or uint16 words of bfloat16."""

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


class Loader:
    """Reads one chip's slices of a checkpoint, in the dtype that the model runs in.

    Every method takes names of the checkpoint, and raises CorruptCheckpoint where it has no such
    tensor, OutOfMemory (which names the tensor) where the chip's DRAM is full.
    """

    def __init__(self, chip: MeshChip, checkpoint: Checkpoint, dtype: DType) -> None:
        self.chip, self.checkpoint, self.dtype = chip, checkpoint, dtype

    def whole(self, name: str) -> Tensor:
        """The whole tensor; every chip holds it."""
        return self._adopt(name, self._read(name))

    def rows(self, name: str) -> Tensor:
        """The chip's part of dim 0, padded to ceil(size / tp_size) rows."""
        return self._part(name, 0)

    def cols(self, name: str) -> Tensor:
        """The chip's part of dim 1, padded to ceil(size / tp_size) columns."""
        return self._part(name, 1)

    def head_rows(self, names: Sequence[str], heads: Sequence[Heads], head_dim: int) -> Tensor:
        """The rows of `heads[i]` of tensor `names[i]`, one tensor after the other.

        Works for weights [num_heads * head_dim, D] and biases [num_heads * head_dim].
        """
        parts: list[Words] = []
        for name, wanted in zip(names, heads, strict=True):
            parts += self._heads(name, 0, wanted, head_dim)
        return self._adopt(names[0], np.concatenate(parts))

    def head_cols(self, name: str, heads: Heads, head_dim: int) -> Tensor:
        """The columns of the given heads of a weight [D, num_heads * head_dim]."""
        return self._adopt(name, np.concatenate(self._heads(name, 1, heads, head_dim), axis=1))

    def _part(self, name: str, dim: int) -> Tensor:
        size, tp_size = self.checkpoint.shape(name)[dim], self.chip.num_chips
        words = self._read(name, dim, part_of(size, self.chip.rank, tp_size))
        return self._adopt(name, _pad(words, dim, width_of(size, tp_size)))

    def _heads(self, name: str, dim: int, heads: Heads, head_dim: int) -> list[Words]:
        shape = list(self.checkpoint.shape(name))
        shape[dim] = head_dim
        blank = np.zeros(shape, self.dtype.numpy)
        return [
            blank
            if head is None
            else self._read(name, dim, slice(head * head_dim, (head + 1) * head_dim))
            for head in heads
        ]

    def _read(self, name: str, dim: int = 0, part: slice | None = None) -> Words:
        """A part of one dim of a tensor, as the chip stores it; None is all."""
        rows, cols = (part, None) if dim == 0 else (None, part)
        if self.chip.plan:
            return self.checkpoint.read(name, rows, cols)  # only its shape is used
        if self.checkpoint.dtype(name) == "BF16" and self.dtype is DType.BFLOAT16:
            return self.checkpoint.read(name, rows, cols)  # no way round through float32
        return encode(self.checkpoint.read_float32(name, rows, cols), self.dtype)

    def _adopt(self, name: str, words: Words) -> Tensor:
        return self.chip.tensor(words, self.dtype, what=name, copy=False)


def _pad(words: Words, dim: int, size: int) -> Words:
    """`words` with zeros after its end along `dim`, up to `size`."""
    shape = list(words.shape)
    shape[dim] = size - words.shape[dim]
    if not shape[dim]:
        return words
    return np.concatenate([words, np.zeros(shape, words.dtype)], axis=dim)
