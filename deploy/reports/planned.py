"""Reports of a plan: one chip was planned, and the others do as it does."""

from collections.abc import Iterable

from ...chip.errors import InvalidArgument
from ...chip.record import ChipRecords, OpRecord
from ...collectives.group import group_of
from ...fabric.topology import Box


def planned_chips(box: Box, records: Iterable[OpRecord]) -> list[ChipRecords]:
    """The records of every chip of `box`, from those of chip 0 in plan mode.

    Chip 0's collective along a mesh axis is on each chip that of its own row or column. When each
    chip is done is taken to be when chip 0 is.

    Raises:
        InvalidArgument: chip 0 calls a group that is neither the mesh nor along an axis: what the
            others do meanwhile does not follow.
    """
    own = tuple(records)
    return [
        ChipRecords(
            rank,
            box.product,
            tuple(record._replace(group=_group(box, rank, record.group)) for record in own),
        )
        for rank in range(box.num_chips)
    ]


def _group(box: Box, rank: int, group: tuple[int, ...]) -> tuple[int, ...]:
    """The group of a chip that is to it as `group` is to chip 0."""
    if not group:
        return group
    for axis in (None, 0, 1):
        if group_of(box, 0, axis).ranks == group:
            return group_of(box, rank, axis).ranks
    raise InvalidArgument(
        f"a plan with a collective of chips {list(group)} of {box.name}: only collectives of the "
        "whole mesh or along an axis can be reported for chips that were not planned themselves"
    )
