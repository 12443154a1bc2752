"""A schedule as messages: what one chip sends another in one round, with the links that it takes.

Chunks that go from one position to one other in the same round, and are treated alike on arrival,
travel as one message. Everything that does not depend on sizes or times is worked out here, once
for a schedule, a box and an order of chips, so that the simulation is a lean loop.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from ..fabric.fate import Link
from ..fabric.routing import route
from ..fabric.topology import Box
from .operation import Operation
from .schedule import Round, Schedule, StepKind

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
    rates: tuple[float, ...]  # share of the box's link rate that each gives, by number
    span: int  # hops over which the start is agreed: see `_span`
    originals: tuple[tuple[int, ...], ...]  # by position: chunks that it copies out but not in
    originals_links: tuple[tuple[int, ...], ...]  # by position: the first links that it sends on


@lru_cache(maxsize=MOST_LISTINGS)
def messages_of(
    schedule: Schedule, box: Box, order: tuple[int, ...], empty: tuple[int, ...] = ()
) -> Messages:
    """The messages of `schedule` when position i is chip `order[i]`; `empty` chunks do not go."""
    listing = _Listing(schedule, box, order)
    rounds = tuple(
        listing.round(number, steps, empty) for number, steps in enumerate(schedule.rounds)
    )
    return Messages(
        rounds,
        tuple(listing.numbers),
        tuple(box.num_links(*link) for link in listing.numbers),
        tuple(box.rate(*link) for link in listing.numbers),
        _span(box, order, set(listing.routes)),
        tuple(tuple(chunks) for chunks in listing.originals),
        tuple(tuple(links) for links in listing.first_links),
    )


class _Listing:
    """What is known while the rounds of a schedule are listed one after the other."""

    def __init__(self, schedule: Schedule, box: Box, order: tuple[int, ...]) -> None:
        self.box, self.order, self.num_chunks = box, order, schedule.num_chunks
        self.turns = schedule.operation is Operation.ALL_REDUCE
        self.last_sums = _last_sums(schedule)
        self.copied_in: set[int] = set()  # position * num_chunks + chunk
        self.originals: list[dict[int, None]] = [{} for _ in order]
        self.first_links: list[dict[int, None]] = [{} for _ in order]
        self.numbers: dict[Link, int] = {}
        self.routes: dict[tuple[int, int], tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def round(self, number: int, steps: Round, empty: tuple[int, ...]) -> tuple[Message, ...]:
        """The messages of the `number`-th round."""
        listed = [
            self._message(number, src, dst, chunks, copies)
            for (src, dst, copies), chunks in _together(steps, empty).items()
        ]
        for message in listed:
            if not message.reduces:
                self.copied_in.update(message.writes)
        return tuple(listed)

    def _message(self, number: int, src: int, dst: int, chunks: list[int], copies: bool) -> Message:
        path, links = self.routes.get((src, dst)) or self._route(src, dst)
        at_src, at_dst = src * self.num_chunks, dst * self.num_chunks
        reads = tuple([at_src + chunk for chunk in chunks])
        writes = tuple([at_dst + chunk for chunk in chunks])
        first = forwards = False
        if copies:
            first = not self.copied_in.issuperset(reads)
        else:
            later = self.last_sums
            forwards = any([later.get(chunk, -1) > number for chunk in writes])
        if first:
            own = [read - at_src for read in reads if read not in self.copied_in]
            self.originals[src].update(dict.fromkeys(own))
        turns = first and self.turns
        return Message(
            src, dst, tuple(chunks), reads, writes, not copies, forwards, turns, path, links
        )

    def _route(self, src: int, dst: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        path = route(self.box, self.order[src], self.order[dst])
        numbers = self.numbers
        links = tuple([numbers.setdefault(link, len(numbers)) for link in pairwise(path)])
        self.first_links[src][links[0]] = None
        self.routes[src, dst] = found = (path, links)
        return found


def _last_sums(schedule: Schedule) -> dict[int, int]:
    """The last round in which a position sends a chunk to be added, by position and chunk."""
    copy, num_chunks = StepKind.COPY, schedule.num_chunks
    return {
        step.src * num_chunks + step.chunk: number
        for number, steps in enumerate(schedule.rounds)
        for step in steps
        if step.kind is not copy
    }


def _together(steps: Round, empty: tuple[int, ...]) -> dict[tuple[int, int, bool], list[int]]:
    """The chunks of a round by (src, dst, copied or added), in the order of its steps."""
    groups: dict[tuple[int, int, bool], list[int]] = {}
    copy = StepKind.COPY
    for step in steps:
        chunk = step.chunk
        if chunk not in empty:
            key = (step.src, step.dst, step.kind is copy)
            if key in groups:
                groups[key].append(chunk)
            else:
                groups[key] = [chunk]
    return groups


def _span(box: Box, order: tuple[int, ...], pairs: set[tuple[int, int]]) -> int:
    """Hops that the news of a chip's start travels before everybody knows that all have started.

    Where each position sends only to those beside it, the news goes down the whole line, or once
    round the ring: n - 1 hops (a fabric multicast: tt-metal all_gather_async, barrier_sem).
    Otherwise it takes the routes: as many hops as the two furthest chips are apart.
    """
    ranks = len(order)
    if all((dst - src) % ranks in (1, ranks - 1) for src, dst in pairs):
        return ranks - 1
    return max(len(route(box, a, b)) - 1 for a in order for b in order)
