"""Do the parts that all chips hold of a weight make the whole? If not, whose part is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..chip.tensor import Array
from .parts import Indices, Match, ranges

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one chip holds of the weight of op `ordinal`: a bit for each row or column of it.

    `needed` are the rows or columns of the whole that are not zero anyway.
    """

    ordinal: int
    what: str
    size: int
    held: Bits
    needed: Bits

    @classmethod
    def of(cls, ordinal: int, what: str, matched: Match, whole: Array) -> Holding:
        """The holding of a part that was found among the whole's rows (or columns) [N, K]."""
        size = whole.shape[0]
        held = np.zeros(size, np.bool_)
        held[matched.nearest[matched.found]] = True
        return cls(ordinal, what, size, np.packbits(held), np.packbits(whole.any(axis=1)))

    @property
    def indices(self) -> Indices:
        """The rows or columns held."""
        return np.flatnonzero(np.unpackbits(self.held, count=self.size))


def missing(holdings: Sequence[Holding]) -> Indices:
    """The rows or columns that no chip holds, of one weight's holdings by rank."""
    held = np.bitwise_or.reduce([holding.held for holding in holdings])
    first = holdings[0]
    return np.flatnonzero(np.unpackbits(first.needed & ~held, count=first.size))


def misplaced(holdings: Sequence[Holding], lacking: Indices) -> int:
    """The chip that should hold what no chip holds: its position in `holdings`.

    A chip that could hold it has nothing of its own that other chips lack. Among those, the one
    that brings the parts into the order of ranks; else the last.
    """
    candidates = [
        chip for chip, own in enumerate(holdings) if not _is_missed(chip, own, holdings)
    ] or list(range(len(holdings)))
    for chip in candidates:
        starts = [int(own.indices[0]) if own.indices.size else None for own in holdings]
        starts[chip] = int(lacking[0])
        known = [start for start in starts if start is not None]
        if known == sorted(known):
            return chip
    return candidates[-1]


def fault(holdings: Sequence[Holding]) -> tuple[int, str] | None:
    """The position of the chip whose part is wrong, and what is wrong; None where all is held."""
    lacking = missing(holdings)
    if not lacking.size:
        return None
    chip = misplaced(holdings, lacking)
    what = holdings[chip].what
    return chip, (
        f"no chip holds {what} {ranges(lacking)} of the reference's weight, "
        f"and this one holds {ranges(holdings[chip].indices)}"
    )


def _is_missed(chip: int, own: Holding, holdings: Sequence[Holding]) -> bool:
    """Does this chip hold something that no other does?"""
    others = [other.held for rank, other in enumerate(holdings) if rank != chip]
    return bool((own.held & ~np.bitwise_or.reduce([*others, np.zeros_like(own.held)])).any())
