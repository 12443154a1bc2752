"""The chips that take part in a collective, and the order in which they stand."""

from dataclasses import dataclass
from functools import cache

from ..fabric.topology import Box


@dataclass(frozen=True, slots=True)
class Group:
    """Chips in ascending rank (`ranks`) and in the order of the algorithm (`order`).

    `channel` is the window that the group uses on a host: 0 for the whole mesh, 1 + axis for the
    chips along a mesh axis; a chip belongs to one group of each channel.
    """

    ranks: tuple[int, ...]
    order: tuple[int, ...]
    is_ring: bool
    channel: int

    @property
    def algorithm(self) -> str:
        """The algorithm that the links of the group allow."""
        return "ring" if self.is_ring else "line"


@cache
def group_of(box: Box, rank: int, axis: int | None) -> Group:
    """The group of `rank`: the whole mesh (axis None), or its chips along a mesh axis.

    Along axis 0 the row coordinate varies (the chips of one column), along axis 1 the column.
    The order is a ring where the links close one, else a line.
    """
    if axis is None:
        ranks = tuple(range(box.num_chips))
    else:
        ranks = next(group for group in box.axis_groups(axis) if rank in group)
    ring = box.ring(ranks)
    order = ring if ring is not None else box.line(ranks)
    return Group(ranks, order, ring is not None, 0 if axis is None else 1 + axis)
