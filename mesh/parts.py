"""Which slices of a whole array a chip's part consists of, found by their contents.

Nobody is asked how a model is cut over chips: the rows or columns of a weight say themselves where
they come from, however heads are dealt out, padded, repeated or joined to one matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ..chip.tensor import Array

Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]

NUM_MARKS = 32  # numbers that stand for a long slice while its like is looked for
BLOCK = 4096  # slices looked for at once
SAME = 0.15
"""Slices are the same up to an error of this size, relative to their own: a PCC of about 0.99."""


@dataclass(frozen=True, slots=True)
class Match:
    """For each slice of a part: the whole's slice most like it, and what to think of that.

    Attributes:
        nearest: indices into the whole's slices.
        found: whether the nearest is the same up to number formats.
        blank: whether the slice is all zeros, as padding is; then it counts as found nowhere.
    """

    nearest: Indices
    found: Mask
    blank: Mask

    @property
    def foreign(self) -> int:
        """How many slices are neither padding nor any of the whole's."""
        return int((~self.found & ~self.blank).sum())

    @property
    def holds(self) -> str:
        """The whole's slices that were found, as ranges: "0..2, 5"."""
        return ranges(self.nearest[self.found])


def match(part: Array, whole: Array) -> Match:
    """Find each row of `part` [n, K] among the rows of `whole` [N, K], N >= 1.

    Finite numbers are expected; what is not finite matches nothing.
    """
    own, all_of = part.astype(np.float32, copy=False), whole.astype(np.float32, copy=False)
    with np.errstate(all="ignore"):
        near = _nearest(_marks(own), _marks(all_of))
        size = np.linalg.norm(own, axis=1)
        found = _is_same(own, all_of[near], size)
        if found.any():  # of several that are alike, the one that is in a row with the others
            in_row = np.arange(len(near)) + _usual(near - np.arange(len(near)), found)
            in_row = np.where((in_row >= 0) & (in_row < len(all_of)), in_row, near)
            near = np.where(_is_same(own, all_of[in_row], size), in_row, near)
    return Match(near, found, np.asarray(size == 0))


def identity(size: int) -> Match:
    """The match of a part that is the whole."""
    every = np.ones(size, np.bool_)
    return Match(np.arange(size), every, ~every)


def take(whole: Array, dim: int, matched: Match) -> Array:
    """The whole's slices along `dim` that a part should consist of, zeros for its padding."""
    taken = np.take(whole, matched.nearest, axis=dim)
    if matched.blank.any():
        np.moveaxis(taken, dim, 0)[matched.blank] = 0
    return taken


def split_dim(part: tuple[int, ...], whole: tuple[int, ...]) -> int | None:
    """The one dim in which a part's shape differs from the whole's; None unless it is just one."""
    if len(part) != len(whole):
        return None
    dims = [dim for dim, (own, full) in enumerate(zip(part, whole, strict=True)) if own != full]
    return dims[0] if len(dims) == 1 else None


def slices(array: Array, dim: int) -> Array:
    """An array as a matrix whose rows are its slices along `dim`."""
    return np.moveaxis(array, dim, 0).reshape(array.shape[dim], -1)


def ranges(indices: Indices) -> str:
    """Indices in words: "0..2, 5"; "nothing" for none."""
    ordered = np.unique(indices)
    if not ordered.size:
        return "nothing"
    runs = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    return ", ".join(str(run[0]) if run.size == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def _is_same(own: Floats, other: Floats, size: Floats) -> Mask:
    """Are rows the same up to number formats? `size` are the norms of `own`."""
    return np.asarray((np.linalg.norm(own - other, axis=1) <= SAME * size) & (size > 0))


def _usual(shifts: Indices, found: Mask) -> int:
    """The shift from the part to the whole that most slices have."""
    values, counts = np.unique(shifts[found], return_counts=True)
    return int(values[counts.argmax()])


def _nearest(own: Floats, all_of: Floats) -> Indices:
    """The index of the row with the least squared distance, for each row."""
    sizes = np.einsum("nk,nk->n", all_of, all_of)
    near = [
        np.argmin(sizes - 2 * (own[start : start + BLOCK] @ all_of.T), axis=1)
        for start in range(0, own.shape[0], BLOCK)
    ]
    return np.concatenate(near) if near else np.zeros(0, np.int64)


def _marks(rows: Floats) -> Floats:
    """Rows as they are if they are short, else random projections of them, always the same."""
    length = rows.shape[1]
    return rows if length <= NUM_MARKS else rows @ _projection(length)


@lru_cache(maxsize=16)
def _projection(length: int) -> Floats:
    return np.random.default_rng(length).standard_normal((length, NUM_MARKS), dtype=np.float32)
