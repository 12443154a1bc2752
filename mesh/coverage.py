"""Do the parts that all chips hold of a weight make the whole? If not, whose part is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..chip.tensor import Array
from .parts import Indices, Match, match, ranges

Bits = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Holding:
    """What one chip holds of the weight of op `ordinal`: a bit for each row or column of it.

    Attributes:
        entry: the op's place on the reference's tape.
        dim: 0 where the weight is cut by rows, 1 by columns.
        size: how many rows or columns the whole has.
    """

    ordinal: int
    entry: int
    dim: int
    size: int
    held: Bits

    @classmethod
    def of(cls, ordinal: int, entry: int, dim: int, matched: Match, size: int) -> Holding:
        """The holding of a part that was found among the whole's rows or columns."""
        held = np.zeros(size, np.bool_)
        held[matched.nearest[matched.found]] = True
        return cls(ordinal, entry, dim, size, np.packbits(held))

    @property
    def what(self) -> str:
        """What the weight is cut into."""
        return "columns" if self.dim else "rows"

    @property
    def indices(self) -> Indices:
        """The rows or columns held."""
        return np.flatnonzero(np.unpackbits(self.held, count=self.size))


def missing(holdings: Sequence[Holding], whole: Array) -> Indices:
    """The rows or columns that no chip holds, of one weight's holdings by rank.

    Where the whole has several that are alike, as tables of unused tokens do, each will do for
    the others; zeros need not be held.

    Args:
        whole: the reference's weight, its rows or columns as rows [N, K].
    """
    held = np.unpackbits(np.bitwise_or.reduce([h.held for h in holdings]), count=len(whole)) > 0
    lacking = np.flatnonzero(~held)
    lacking = lacking[whole[lacking].any(axis=1)]
    if lacking.size and held.any():
        lacking = lacking[~match(whole[lacking], whole[held]).found]
    return lacking


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


def fault(holdings: Sequence[Holding], whole: Array) -> tuple[int, str] | None:
    """The position of the chip whose part is wrong, and what is wrong; None where all is held."""
    lacking = missing(holdings, whole)
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
