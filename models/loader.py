"""Putting a chip's own slices of a checkpoint on the chip, padded where they do not divide."""

from collections.abc import Sequence

import numpy as np

from ..chip.chip import Chip
from ..chip.dtype import DType
from ..chip.tensor import Tensor, encode
from .weights import Checkpoint


def part_of(size: int, rank: int, tp_size: int) -> slice:
    """Which of `size` rows chip `rank` holds; every chip has room for ceil(size / tp_size).

    Example: 10 rows on 4 chips are 0:3, 3:6, 6:9, 9:10, with room for 3 on each.
    """
    width = -(-size // tp_size)
    return slice(min(rank * width, size), min((rank + 1) * width, size))


class Loader:
    """Reads slices of one checkpoint onto one chip, in the dtype that the model runs in.

    Padding rows and columns are zero, so they add exactly zero to every result.
    """

    def __init__(self, chip: Chip, checkpoint: Checkpoint, dtype: DType) -> None:
        self.chip, self.checkpoint, self.dtype = chip, checkpoint, dtype

    def whole(self, name: str) -> Tensor:
        """The whole tensor; every chip holds it."""
        return self._adopt(name, self._words(name, None, None))

    def rows(self, name: str, rank: int, tp_size: int) -> Tensor:
        """The chip's part of dim 0, padded to ceil(size / tp_size) rows."""
        size = self.checkpoint.shape(name)[0]
        words = self._words(name, part_of(size, rank, tp_size), None)
        return self._adopt(name, _pad(words, 0, -(-size // tp_size)))

    def cols(self, name: str, rank: int, tp_size: int) -> Tensor:
        """The chip's part of dim 1, padded to ceil(size / tp_size) columns."""
        size = self.checkpoint.shape(name)[1]
        words = self._words(name, None, part_of(size, rank, tp_size))
        return self._adopt(name, _pad(words, 1, -(-size // tp_size)))

    def head_rows(
        self, names: Sequence[str], heads: Sequence[Sequence[int | None]], head_dim: int
    ) -> Tensor:
        """The rows of the given heads of each tensor, one tensor after the other; None is zeros.

        Works for weights [num_heads * head_dim, D] and biases [num_heads * head_dim].
        """
        parts = []
        for name, wanted in zip(names, heads, strict=True):
            blank = np.zeros((head_dim, *self.checkpoint.shape(name)[1:]), self.dtype.numpy)
            for head in wanted:
                rows = None if head is None else slice(head * head_dim, (head + 1) * head_dim)
                parts.append(blank if rows is None else self._words(name, rows, None))
        return self._adopt(names[0], np.concatenate(parts))

    def head_cols(self, name: str, heads: Sequence[int | None], head_dim: int) -> Tensor:
        """The columns of the given heads of a weight [D, num_heads * head_dim]; None is zeros."""
        blank = np.zeros((self.checkpoint.shape(name)[0], head_dim), self.dtype.numpy)
        parts = [
            blank
            if head is None
            else self._words(name, None, slice(head * head_dim, (head + 1) * head_dim))
            for head in heads
        ]
        return self._adopt(name, np.concatenate(parts, axis=1))

    def _words(
        self, name: str, rows: slice | None, cols: slice | None
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """A slice in the storage words of the model's dtype."""
        if self.checkpoint.dtype(name) == "BF16" and self.dtype is DType.BFLOAT16:
            return self.checkpoint.read(name, rows, cols)
        return encode(self.checkpoint.read_float32(name, rows, cols), self.dtype)

    def _adopt(self, name: str, words: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Tensor:
        return self.chip.tensor(words, self.dtype, what=name, copy=False)


def _pad(
    words: np.ndarray[tuple[int, ...], np.dtype[np.generic]], dim: int, size: int
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """`words` with zeros after its end along `dim`, up to `size`."""
    missing = size - words.shape[dim]
    if not missing:
        return words
    shape = list(words.shape)
    shape[dim] = missing
    return np.concatenate([words, np.zeros(shape, words.dtype)], axis=dim)
