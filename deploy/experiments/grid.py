"""Grids of points, and the two classic ways of giving a problem more chips."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .plain import plain

Axis = Literal["tp", "dp"]
Point = dict[str, Any]


def product(grid: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Every combination of the values, the last name changing the quickest."""
    names = list(grid)
    columns = [[plain(value) for value in grid[name]] for name in names]
    return [dict(zip(names, values, strict=True)) for values in itertools.product(*columns)]


def strong(grid: Mapping[str, Sequence[Any]], chips: Sequence[int], by: Axis = "tp") -> list[Point]:
    """Strong scaling: the same problem on more and more chips.

    Args:
        chips: of the whole deployment.
        by: what grows: "tp" (the other axis stays as the grid has it, or 1), or "dp".
    Raises:
        ValueError: chips are no multiple of the axis that stays, or the grid has the one that
            grows.
    """
    other = "dp" if by == "tp" else "tp"
    if by in grid:
        raise ValueError(f"{by!r} grows with the chips: the grid cannot have it as well")
    points = []
    for point in product(grid):
        for count in chips:
            fixed = point.get(other, 1)
            if count % fixed:
                raise ValueError(f"{count} chips are no multiple of {other} = {fixed}")
            points.append({**point, by: count // fixed, other: fixed})
    return points


def weak(
    grid: Mapping[str, Sequence[Any]],
    chips: Sequence[int],
    batch_per_chip: Sequence[int],
    by: Axis = "tp",
) -> list[Point]:
    """Weak scaling: as many users more as chips; see `strong` for the rest.

    Raises:
        ValueError: as `strong`, or the grid has a batch.
    """
    if "batch" in grid:
        raise ValueError("'batch' grows with the chips: the grid cannot have it as well")
    return strong({**grid, "batch_per_chip": batch_per_chip}, chips, by)
