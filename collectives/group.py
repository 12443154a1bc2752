"""The chips that take part in a collective, and how they stand for an algorithm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ..fabric.topology import Box
from .algorithm import Algorithm, Layout, Team
from .errors import AlgorithmError, CollectiveError


@dataclass(frozen=True, slots=True)
class Group:
    """Chips in ascending rank.

    `channel` is the window that the group uses on a host: 0 for the whole mesh, 1 + axis for the
    chips along a mesh axis (a chip belongs to one group of each channel), None for any other
    group, whose chips exchange messages. `where` names the group for readers.
    """

    ranks: tuple[int, ...]
    channel: int | None
    where: str


@cache
def group_of(box: Box, rank: int, axis: int | tuple[int, ...] | None) -> Group:
    """The group of `rank`: the whole mesh (axis None), its chips along a mesh axis, or these ranks.

    Along axis 0 the row coordinate varies (the chips of one column), along axis 1 the column.

    Raises:
        CollectiveError: the ranks do not include the chip's own, or are not chips of the box.
    """
    everybody = tuple(range(box.num_chips))
    if axis is None:
        return Group(everybody, 0, "")
    if isinstance(axis, int):
        ranks = next(group for group in box.axis_groups(axis) if rank in group)
        return Group(ranks, 1 + axis, f"axis {axis}")
    ranks = tuple(sorted(axis))
    if len(set(ranks)) != len(ranks) or not set(ranks) <= set(everybody):
        raise CollectiveError(
            f"group {list(axis)}: a group is a set of different chips out of 0 to "
            f"{box.num_chips - 1} of {box.name}"
        )
    if rank not in ranks:
        raise CollectiveError(f"group {list(ranks)}: chip {rank} called it but is not in it")
    return group_of(box, rank, None) if ranks == everybody else Group(ranks, None, f"group {ranks}")


@cache
def stand(box: Box, ranks: tuple[int, ...], layout: Layout) -> tuple[tuple[int, ...], Team] | None:
    """The chips at the positions of an algorithm of that layout, and their team.

    None when these chips cannot stand so: their links close no ring, or they fill no rectangle.
    """
    n = len(ranks)
    if layout is Layout.RING:
        order = box.ring(ranks)
        return None if order is None else (order, Team(n, (1, n), (False, True)))
    if layout is Layout.LINE:
        return box.line(ranks), Team(n, (1, n))
    if layout is Layout.RANK:
        return ranks, Team(n, (1, n))
    return _rectangle(box, ranks)


def stand_or_fail(
    box: Box, ranks: tuple[int, ...], algorithm: Algorithm, operation: str
) -> tuple[tuple[int, ...], Team]:
    """As `stand`.

    Raises:
        AlgorithmError: says why the chips cannot stand so.
    """
    found = stand(box, ranks, algorithm.layout)
    if found is None:
        why = {
            Layout.RING: "their links close no ring; algorithm 'line' needs none",
            Layout.GRID: "they fill no rectangle of two rows and two columns or more",
        }[algorithm.layout]
        raise AlgorithmError(
            algorithm.name, operation, f"chips {_brief(ranks)} of {box.name}: {why}"
        )
    return found


def _rectangle(box: Box, ranks: tuple[int, ...]) -> tuple[tuple[int, ...], Team] | None:
    rows = sorted({box.coords(rank)[0] for rank in ranks})
    columns = sorted({box.coords(rank)[1] for rank in ranks})
    if min(len(rows), len(columns)) < 2 or len(rows) * len(columns) != len(ranks):
        return None
    if rows[-1] - rows[0] >= len(rows) or columns[-1] - columns[0] >= len(columns):
        return None
    wraps = (
        box.wrap[0] and len(rows) == box.shape[0],
        box.wrap[1] and len(columns) == box.shape[1],
    )
    return ranks, Team(len(ranks), (len(rows), len(columns)), wraps)


def _brief(ranks: Sequence[int]) -> str:
    words = [str(rank) for rank in ranks]
    return ", ".join(words if len(words) <= 8 else [*words[:4], "...", *words[-2:]])
