"""Routes: which chips a message visits between two chips.

Meshes and tori route dimension by dimension, along the row first, then along the column; a wrap
is used when it is shorter (ties go towards higher coordinates). Other wirings take the shortest
path, and of several the one with the lowest ranks. Source: tt-metal TT-Fabric-Architecture.md
(source-routed, X then Y).
"""

from functools import lru_cache

from .errors import UnknownRank
from .topology import Box


@lru_cache(maxsize=65536)
def route(box: Box, src: int, dst: int) -> tuple[int, ...]:
    """Ranks from `src` to `dst`, both included; a single one when they are the same chip."""
    for rank in (src, dst):
        if not 0 <= rank < box.num_chips:
            raise UnknownRank(rank, box.num_chips, f"route in {box.name}")
    path = _dimension_ordered(box, src, dst) if box.is_grid else _shortest(box, src, dst)
    if path is None:
        raise ValueError(f"{box.name} has no path from chip {src} to chip {dst}")
    return path


def _dimension_ordered(box: Box, src: int, dst: int) -> tuple[int, ...]:
    (row, column), (last_row, last_column) = box.coords(src), box.coords(dst)
    path = [src]
    for _ in range(abs(step := _steps(column, last_column, box.shape[1], box.wrap[1]))):
        column = (column + (1 if step > 0 else -1)) % box.shape[1]
        path.append(box.rank_at((row, column)))
    for _ in range(abs(step := _steps(row, last_row, box.shape[0], box.wrap[0]))):
        row = (row + (1 if step > 0 else -1)) % box.shape[0]
        path.append(box.rank_at((row, column)))
    return tuple(path)


def _steps(start: int, stop: int, length: int, wrap: bool) -> int:
    """Signed number of steps along one axis, the shorter way round."""
    ahead = (stop - start) % length
    if not wrap or length <= 2:
        return stop - start
    return ahead if ahead <= length - ahead else ahead - length


def _shortest(box: Box, src: int, dst: int) -> tuple[int, ...] | None:
    distance = {dst: 0}
    frontier = [dst]
    for rank in frontier:
        for neighbour in box.neighbours(rank):
            if neighbour not in distance:
                distance[neighbour] = distance[rank] + 1
                frontier.append(neighbour)
    if src not in distance:
        return None
    path = [src]
    while path[-1] != dst:
        here = distance[path[-1]]
        path.append(min(n for n in box.neighbours(path[-1]) if distance[n] < here))
    return tuple(path)
