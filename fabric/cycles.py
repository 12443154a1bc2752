"""Rings and lines: Hamiltonian cycles and paths through a group of chips.

Whole meshes and rectangles of them are walked as a snake; anything else by depth-first search,
lowest rank first, which gives the smallest order and so the same one everywhere. Branches are cut
when a chip is left with too few free neighbours, or when the rest falls apart.
"""

import itertools
from collections.abc import Iterator
from functools import lru_cache
from typing import Protocol

MAX_STEPS = 20_000  # of the search (under a second); groups that need more count as having none


class Graph(Protocol):
    """What this room needs of a box."""

    @property
    def shape(self) -> tuple[int, int]: ...
    def coords(self, rank: int) -> tuple[int, int]: ...
    def rank_at(self, coords: tuple[int, int]) -> int: ...
    def neighbours(self, rank: int) -> tuple[int, ...]: ...
    def __hash__(self) -> int: ...


@lru_cache(maxsize=4096)
def ring(graph: Graph, ranks: tuple[int, ...]) -> tuple[int, ...] | None:
    """The ring through `ranks` (ascending), or None. See Box.ring."""
    if len(ranks) == 1:
        return ranks
    if len(ranks) == 2:
        return ranks if ranks[1] in graph.neighbours(ranks[0]) else None
    snake = _snake(graph, ranks)
    if snake is not None and _joined(graph, (*snake, snake[0])):
        return snake
    found = _search(graph, ranks, ranks[:1], closed=True)
    return found if found is None or found[1] < found[-1] else (found[0], *reversed(found[1:]))


@lru_cache(maxsize=4096)
def line(graph: Graph, ranks: tuple[int, ...]) -> tuple[int, ...]:
    """The path through `ranks` (ascending), or `ranks` itself. See Box.line."""
    if _joined(graph, ranks):
        return ranks
    return _search(graph, ranks, ranks, closed=False) or ranks


def _joined(graph: Graph, path: tuple[int, ...]) -> bool:
    return all(b in graph.neighbours(a) for a, b in itertools.pairwise(path))


def _snake(graph: Graph, ranks: tuple[int, ...]) -> tuple[int, ...] | None:
    """A cycle round a full rectangle: out along the first row, back by the first column."""
    coords = [graph.coords(rank) for rank in ranks]
    top, left = coords[0]
    rows, columns = coords[-1][0] - top + 1, coords[-1][1] - left + 1
    if rows < 2 or columns < 2 or rows * columns % 2 or rows * columns != len(ranks):
        return None
    path = [(0, c) for c in range(columns)]
    if rows % 2 == 0:  # rows 1.. to and fro, leaving the first column free
        for r in range(1, rows):
            cells = range(columns - 1, 0, -1) if r % 2 else range(1, columns)
            path += [(r, c) for c in cells]
    else:  # columns ..1 up and down, leaving the first column free
        for c in range(columns - 1, 0, -1):
            down = (columns - 1 - c) % 2 == 0
            path += [(r, c) for r in (range(1, rows) if down else range(rows - 1, 0, -1))]
    path += [(r, 0) for r in range(rows - 1, 0, -1)]
    cycle = tuple(graph.rank_at((top + r, left + c)) for r, c in path)
    return cycle if tuple(sorted(cycle)) == ranks else None


def _search(
    graph: Graph, ranks: tuple[int, ...], starts: tuple[int, ...], closed: bool
) -> tuple[int, ...] | None:
    """The first path through all of `ranks` from one of `starts`, lowest rank first."""
    group = frozenset(ranks)
    near = {rank: [n for n in graph.neighbours(rank) if n in group] for rank in ranks}
    if not _in_one_piece(near, set(ranks)):
        return None
    steps = iter(range(MAX_STEPS))  # shared by all starts
    paths = (_path_from(near, start, closed, steps) for start in starts)
    return next((path for path in paths if path is not None), None)


def _path_from(
    near: dict[int, list[int]], start: int, closed: bool, steps: Iterator[int]
) -> tuple[int, ...] | None:
    path, free = [start], set(near) - {start}
    branches = [iter(near[start])]
    for _ in steps:
        step = next((n for n in branches[-1] if n in free), None)
        if step is None:
            branches.pop()
            free.add(path.pop())
            if not branches:
                return None
            continue
        path.append(step)
        free.remove(step)
        if not free and (not closed or start in near[step]):
            return tuple(path)
        hopeful = _promising(near, free, step, start, closed)
        branches.append(iter(near[step]) if hopeful else iter(()))
    return None


def _promising(
    near: dict[int, list[int]], free: set[int], head: int, start: int, closed: bool
) -> bool:
    """Can a path that stands at `head` still visit every free chip (and come home)?"""
    open_ends = {head, start} if closed else {head}
    dead_ends = 0
    for rank in free:
        exits = sum(n in free or n in open_ends for n in near[rank])
        dead_ends += exits < 2
        if exits == 0 or (dead_ends and closed) or dead_ends > 1:
            return False
    return _in_one_piece(near, free)


def _in_one_piece(near: dict[int, list[int]], free: set[int]) -> bool:
    if not free:
        return True
    seen = {next(iter(free))}
    frontier = list(seen)
    while frontier:
        fresh = [n for n in near[frontier.pop()] if n in free and n not in seen]
        seen.update(fresh)
        frontier += fresh
    return len(seen) == len(free)
