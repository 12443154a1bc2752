"""A part of a box as a box of its own: some rows and columns of its mesh."""

import dataclasses
from functools import cache

from .errors import SubmeshError
from .topology import Box, Edge


@cache
def submesh(box: Box, shape: tuple[int, int], corner: tuple[int, int] = (0, 0)) -> Box:
    """The chips of `shape` rows and columns of a box from `corner` on, with the links among them.

    Raises:
        SubmeshError: the box has fewer rows or columns; the shapes of as many chips that fit are
            named.
    """
    rows, columns = shape
    (top, left), from_corner = corner, "" if corner == (0, 0) else f" from {corner}"
    last = box.shape[0] - rows, box.shape[1] - columns
    if rows < 1 or columns < 1 or not (0 <= top <= last[0] and 0 <= left <= last[1]):
        fitting = tuple(shapes(box, rows * columns))
        raise SubmeshError(f"{box.name}{from_corner}", box.shape, shape, fitting)
    if shape == box.shape:
        return box
    kept = [
        box.rank_at((row, column))
        for row in range(top, top + rows)
        for column in range(left, left + columns)
    ]
    rank_of = {old: new for new, old in enumerate(kept)}
    boards = (tuple(rank_of[old] for old in board if old in rank_of) for board in box.boards)
    ids = [box.chip_ids[old] for old in kept]
    return dataclasses.replace(
        box,
        name=f"{box.name}[{rows}x{columns}{from_corner}]",
        title=f"{rows}x{columns} of {box.title}",
        shape=shape,
        edges=tuple(
            Edge(
                min(rank_of[edge.a], rank_of[edge.b]),
                max(rank_of[edge.a], rank_of[edge.b]),
                edge.num_links,
                edge.rate,
            )
            for edge in box.edges
            if edge.a in rank_of and edge.b in rank_of
        ),
        wrap=(box.wrap[0] and rows == box.shape[0], box.wrap[1] and columns == box.shape[1]),
        boards=tuple(board for board in boards if board),
        chip_ids=tuple(sorted(ids).index(chip_id) for chip_id in ids),
        aliases=(),
    )


def shapes(box: Box, num_chips: int) -> list[tuple[int, int]]:
    """The meshes of so many chips that fit into a box, the most rows first."""
    return [
        (rows, num_chips // rows)
        for rows in range(min(box.shape[0], num_chips), 0, -1)
        if num_chips % rows == 0 and num_chips // rows <= box.shape[1]
    ]
