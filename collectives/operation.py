"""The collectives, and what each promises: who starts and who ends with which part of the data.

The data of an operation is one tensor in `num_parts` parts. Where a part belongs to a position p
of n, part p is its; all_to_all has a part for every pair, s * n + d from s to d; an operation whose
chips all hold the whole tensor has one part.
"""

from collections.abc import Sequence
from enum import Enum


class Operation(Enum):
    """The collectives that have schedules."""

    ALL_REDUCE = "all_reduce"
    REDUCE_SCATTER = "reduce_scatter"
    ALL_GATHER = "all_gather"
    ALL_TO_ALL = "all_to_all"
    BROADCAST = "broadcast"
    REDUCE = "reduce"
    GATHER = "gather"
    SCATTER = "scatter"
    BARRIER = "barrier"

    def __init__(self, label: str) -> None:
        self.label = label
        self.reduces = label in ("all_reduce", "reduce_scatter", "reduce")
        self.has_root = label in ("broadcast", "reduce", "gather", "scatter")
        self.cuts = label in ("reduce_scatter", "scatter", "all_to_all")  # along a tensor dim
        self.joins = label in ("all_gather", "gather", "all_to_all")

    __hash__ = object.__hash__  # members are single: their identity will do, and is quick

    def num_parts(self, num_ranks: int) -> int:
        """In how many parts the data falls among `num_ranks` positions."""
        if self is Operation.ALL_TO_ALL:
            return num_ranks * num_ranks
        return 1 if self in _WHOLE else num_ranks

    def parts_at_start(self, num_ranks: int, position: int, root: int) -> Sequence[int]:
        """The parts that a position starts with."""
        if self is Operation.ALL_TO_ALL:
            return range(position * num_ranks, (position + 1) * num_ranks)
        if self in (Operation.ALL_GATHER, Operation.GATHER, Operation.BARRIER):
            return (position,)
        if self in (Operation.BROADCAST, Operation.SCATTER) and position != root:
            return ()
        return range(self.num_parts(num_ranks))

    def parts_at_end(self, num_ranks: int, position: int, root: int) -> Sequence[int]:
        """The parts that a position ends with."""
        if self is Operation.ALL_TO_ALL:
            return range(position, num_ranks * num_ranks, num_ranks)
        if self in (Operation.REDUCE_SCATTER, Operation.SCATTER):
            return (position,)
        if self in (Operation.REDUCE, Operation.GATHER) and position != root:
            return ()
        return range(self.num_parts(num_ranks))

    def sources(self, num_ranks: int, part: int, root: int) -> Sequence[int]:
        """The positions whose data makes up a part at the end, each exactly once."""
        if self.reduces:
            return range(num_ranks)
        if self is Operation.ALL_TO_ALL:
            return (part // num_ranks,)
        if self in (Operation.BROADCAST, Operation.SCATTER):
            return (root,)
        return (part,)


_WHOLE = (Operation.ALL_REDUCE, Operation.BROADCAST, Operation.REDUCE)
