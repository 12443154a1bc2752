"""Virtual channels: why packets that wait for each other's buffers never wait in a circle.

Directed links have a fixed order, and a packet that takes a link lower in the order than the one
before moves to the next virtual channel. (channel, link) then only grows along every route, so no
cycle of waiting packets can exist, whatever the box and the detour. Source: Dally and Seitz,
"Deadlock-free message routing in multiprocessor interconnection networks", IEEE Trans. Computers
C-36 (1987).

On a grid the order follows dimension-ordered routes: links along the rows first, then those along
the columns, each in the direction of travel. On a mesh such a route never descends, and each wrap
descends once. Elsewhere links are in order of their ranks.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

from .fate import Link
from .topology import Box

Channel: TypeAlias = tuple[Link, int]
"""A directed link, and one of its virtual channels."""


@lru_cache(maxsize=65536)
def channels(box: Box, route: tuple[int, ...]) -> tuple[Channel, ...]:
    """The links of a route (ranks, both ends included), each with its virtual channel, from 0.

    Raises:
        ValueError: two chips in a row are not neighbours.
    """
    path: list[Channel] = []
    channel, last = 0, None
    for link in itertools.pairwise(route):
        if not box.num_links(*link):
            raise ValueError(f"route (={route}): {box.name} has no link {_arrow(link)}")
        place = _place(box, link)
        if last is not None and place < last:
            channel += 1
        path.append((link, channel))
        last = place
    return tuple(path)


def credit_cycle(channel_paths: Iterable[Sequence[Channel]]) -> tuple[Channel, ...] | None:
    """Channels that packets on these paths can hold while each waits for the next, in a circle.

    A packet holds its place in a channel until it has one in the next channel of its path. None
    when there is no circle: then no pattern of traffic on these paths can lock up.
    """
    follows: dict[Channel, dict[Channel, None]] = {}
    for path in channel_paths:
        for held, wanted in itertools.pairwise(path):
            follows.setdefault(held, {})[wanted] = None
    done: set[Channel] = set()
    for start in follows:
        cycle = _cycle_from(start, follows, done)
        if cycle is not None:
            return cycle
    return None


def describe_cycle(cycle: Sequence[Channel]) -> str:
    """The circle in words: every link, its channel, and what is waited for."""
    names = [f"{_arrow(link)} (channel {channel})" for link, channel in cycle]
    waits = [f"{a} waits for {b}" for a, b in itertools.pairwise([*names, names[0]])]
    return "credits wait in a circle: " + ", ".join(waits)


def _cycle_from(
    start: Channel, follows: dict[Channel, dict[Channel, None]], done: set[Channel]
) -> tuple[Channel, ...] | None:
    """Depth-first search; what it has left behind without a cycle goes into `done`."""
    if start in done:
        return None
    path = {start: None}
    branches: list[Iterator[Channel]] = [iter(follows[start])]
    while branches:
        step = next((channel for channel in branches[-1] if channel not in done), None)
        if step is None:
            branches.pop()
            done.add(path.popitem()[0])
        elif step in path:
            around = list(path)
            return tuple(around[around.index(step) :])
        else:
            path[step] = None
            branches.append(iter(follows.get(step, ())))
    return None


def _place(box: Box, link: Link) -> tuple[int, ...]:
    """Where a link stands in the order of all links of the box."""
    if not box.is_grid:
        return link
    (row, column), (next_row, next_column) = box.coords(link[0]), box.coords(link[1])
    axis = 1 if row == next_row else 0
    here, there = (column, next_column) if axis else (row, next_row)
    is_wrap = abs(there - here) > 1
    goes_up = (there > here) != is_wrap
    return (1 - axis, int(goes_up), here if goes_up else -here, *link)


def _arrow(link: Link) -> str:
    return f"{link[0]}->{link[1]}"
