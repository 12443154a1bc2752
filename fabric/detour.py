"""Routes round links that are down."""

from functools import lru_cache

from .fate import Link
from .topology import Box


@lru_cache(maxsize=65536)
def route_around(
    box: Box, src: int, dst: int, dead_links: frozenset[Link]
) -> tuple[int, ...] | None:
    """The shortest way from `src` to `dst` over links that live, both chips included, or None.

    `dead_links` are directions (a, b). Of several shortest ways: that with the lowest ranks.
    """
    distance = {dst: 0}
    frontier = [dst]
    for chip in frontier:
        for neighbour in box.neighbours(chip):
            if neighbour not in distance and (neighbour, chip) not in dead_links:
                distance[neighbour] = distance[chip] + 1
                frontier.append(neighbour)
    if src not in distance:
        return None
    path = [src]
    while path[-1] != dst:
        here = path[-1]
        path.append(
            min(
                chip
                for chip in box.neighbours(here)
                if distance.get(chip) == distance[here] - 1 and (here, chip) not in dead_links
            )
        )
    return tuple(path)
