"""Routes over the two tori, as lists of links between routers.

NoC0 moves right (+x) and then down (+y); NoC1 up (-y) and then left (-x); both wrap around. So
a packet and its answer go once around each axis on which their tiles differ: 17 + 12 = 29 hops on
Blackhole. Source: tt-isa-documentation WormholeB0/NoC/RoutingPaths.md and BlackholeA0's.
"""

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import InvalidArgument
from ..grid import Grid, Xy


class Link(NamedTuple):
    """The wires from one router to the next, of one NoC; places are NoC0's on both."""

    noc: int
    src: Xy
    dst: Xy


def route(grid: Grid, noc: int, src: Xy, dst: Xy) -> tuple[Link, ...]:
    """The links that a packet from src to dst takes; none if they are the same tile."""
    check_noc(noc)
    corner = (dst[0], src[1]) if noc == 0 else (src[0], dst[1])
    return (*_straight(grid, noc, src, corner), *_straight(grid, noc, corner, dst))


def round_trip_hops(grid: Grid, src: Xy, dst: Xy) -> int:
    """Hops there and back: once around each axis on which they differ."""
    return (grid.columns if src[0] != dst[0] else 0) + (grid.rows if src[1] != dst[1] else 0)


def multicast_tree(
    grid: Grid, noc: int, src: Xy, first: Xy, last: Xy
) -> tuple[tuple[Link, ...], int]:
    """The links of a multicast to a rectangle, each once, and the depth of its deepest branch.

    The x axis is the major one: along the row of src to the near column of the rectangle, along
    that column through its rows, and along each row.

    Args:
        first, last: the top left and bottom right corner, both inside.
    """
    check_noc(noc)
    near, far = (first, last) if noc == 0 else (last, first)
    stem = _straight(grid, noc, src, (near[0], src[1]))
    down = _straight(grid, noc, (near[0], src[1]), near)
    trunk = _straight(grid, noc, near, (near[0], far[1]))
    branches = [
        _straight(grid, noc, (near[0], y), (far[0], y)) for y in range(first[1], last[1] + 1)
    ]
    depth = len(stem) + len(down) + len(trunk) + len(branches[0])
    links = dict.fromkeys((*stem, *down, *trunk, *_joined(branches)))
    return tuple(links), depth


def check_noc(noc: int) -> None:
    """Refuse a NoC that is not there."""
    if noc not in (0, 1):
        raise InvalidArgument(f"noc (={noc}) must be 0 or 1")


def _straight(grid: Grid, noc: int, src: Xy, dst: Xy) -> tuple[Link, ...]:
    """Links along one axis, in the direction of the NoC, around the edge if need be."""
    step = 1 if noc == 0 else -1
    dx, dy = (step, 0) if src[0] != dst[0] else (0, step)
    links, at = [], src
    while at != dst:
        to = ((at[0] + dx) % grid.columns, (at[1] + dy) % grid.rows)
        links.append(Link(noc, at, to))
        at = to
    return tuple(links)


def _joined(parts: Iterable[tuple[Link, ...]]) -> tuple[Link, ...]:
    return tuple(link for part in parts for link in part)
