"""A schedule as messages: what one chip sends another in one round, with the links that it takes.

Chunks that go from one position to one other in the same round, and are treated alike on arrival,
travel as one message. Everything that does not depend on sizes or times is worked out here, once
for a schedule, a box and an order of chips, so that the simulation is a lean loop.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from ..fabric.routing import route
from ..fabric.topology import Box
from .schedule import Operation, Round, Schedule, StepKind

Link: TypeAlias = tuple[int, int]
"""One direction between two neighbouring chips, (src, dst)."""
MOST_LISTINGS = 256
"""Listings of messages remembered."""


class Message(NamedTuple):
    """Some chunks on their way between two positions."""

    src: int
    dst: int
    chunks: tuple[int, ...]
    reads: tuple[int, ...]  # where src keeps them: position * num_chunks + chunk
    writes: tuple[int, ...]  # where dst keeps them
    reduces: bool  # dst adds them to its own
    forwards: bool  # dst sends the sums of some of them on, to be added to
    turns: bool  # the first copy of a finished sum: all_gather follows reduce_scatter
    route: tuple[int, ...]  # chips
    links: tuple[int, ...]  # numbers of the links of the route


@dataclass(frozen=True, eq=False)
class Messages:
    """All messages of a schedule, round by round."""

    rounds: tuple[tuple[Message, ...], ...]
    links: tuple[Link, ...]  # by number
    num_parallel: tuple[int, ...]  # physical links side by side, by number
    span: int  # hops over which the start is agreed: see `_span`
    originals: tuple[tuple[int, ...], ...]  # by position: chunks that it copies out but not in
    originals_links: tuple[tuple[int, ...], ...]  # by position: the first links that it sends on


class _Same:
    """A schedule as a key: the very object, since hashing thousands of steps takes longer."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __hash__(self) -> int:
        return id(self.schedule)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.schedule is self.schedule


def messages_of(
    schedule: Schedule, box: Box, order: tuple[int, ...], empty: tuple[int, ...] = ()
) -> Messages:
    """The messages of `schedule` when position i is chip `order[i]`; `empty` chunks do not go."""
    return _messages(_Same(schedule), box, order, empty)


@lru_cache(maxsize=MOST_LISTINGS)
def _messages(same: _Same, box: Box, order: tuple[int, ...], empty: tuple[int, ...]) -> Messages:
    schedule = same.schedule
    copies_in: set[tuple[int, int]] = set()
    originals: list[dict[int, None]] = [{} for _ in order]
    first_links: list[dict[int, None]] = [{} for _ in order]
    numbers: dict[Link, int] = {}
    rounds = []
    sends_sum = _last_sums(schedule)
    for number, steps in enumerate(schedule.rounds):
        listed = []
        for (src, dst, kind), chunks in _together(steps, empty).items():
            path = route(box, order[src], order[dst])
            links = tuple([numbers.setdefault(link, len(numbers)) for link in pairwise(path)])
            copy = kind is StepKind.COPY
            first = copy and any((src, chunk) not in copies_in for chunk in chunks)
            if first:
                originals[src].update(
                    dict.fromkeys(chunk for chunk in chunks if (src, chunk) not in copies_in)
                )
            first_links[src][links[0]] = None
            reads = tuple([src * schedule.num_chunks + chunk for chunk in chunks])
            writes = tuple([dst * schedule.num_chunks + chunk for chunk in chunks])
            turns = first and schedule.operation is Operation.ALL_REDUCE
            forwards = not copy and any(sends_sum.get((dst, c), -1) > number for c in chunks)
            listed.append(
                Message(
                    src, dst, tuple(chunks), reads, writes, not copy, forwards, turns, path, links
                )
            )
        rounds.append(tuple(listed))
        copies_in.update(
            (message.dst, chunk)
            for message in listed
            if not message.reduces
            for chunk in message.chunks
        )
    return Messages(
        tuple(rounds),
        tuple(numbers),
        tuple(box.num_links(*link) for link in numbers),
        _span(box, order, rounds),
        tuple(tuple(chunks) for chunks in originals),
        tuple(tuple(links) for links in first_links),
    )


def _last_sums(schedule: Schedule) -> dict[tuple[int, int], int]:
    """The last round in which a position sends a chunk to be added."""
    return {
        (step.src, step.chunk): number
        for number, steps in enumerate(schedule.rounds)
        for step in steps
        if step.kind is not StepKind.COPY
    }


def _together(
    steps: Round, empty: tuple[int, ...]
) -> dict[tuple[int, int, StepKind], dict[int, None]]:
    """The chunks of a round by (src, dst, kind), in the order of its steps."""
    groups: dict[tuple[int, int, StepKind], dict[int, None]] = {}
    for step in steps:
        if step.chunk not in empty:
            key = (step.src, step.dst, step.kind)
            groups.setdefault(key, {})[step.chunk] = None
    return groups


def _span(box: Box, order: tuple[int, ...], rounds: list[tuple[Message, ...]]) -> int:
    """Hops that the news of a chip's start travels before everybody knows that all have started.

    Where each position sends only to those beside it, the news goes down the whole line, or once
    round the ring: n - 1 hops (a fabric multicast: tt-metal all_gather_async, barrier_sem).
    Otherwise it takes the routes: as many hops as the two furthest chips are apart.
    """
    ranks = len(order)
    beside = {1, ranks - 1}
    if all((m.dst - m.src) % ranks in beside for listed in rounds for m in listed):
        return ranks - 1
    return max(len(route(box, a, b)) - 1 for a in order for b in order)
