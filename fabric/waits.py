"""The verdict on a standstill: can any chip that waits still be served, and if not, why not.

A chip that runs may do anything, so whoever waits only for such chips has hope. Hope spreads
backwards along the waits: a chip that needs all the chips it names has hope when all of them do, a
chip that takes the first message of any has hope when one of them does. What hope never reaches
waits for ever: for a chip that has ended, was stalled or was closed, or in a cycle of waits.

A verdict holds for the moment at which all statuses were true together. Whoever reads them one
after another looks twice and sees that no `since` of the chips in the proof has moved; and a chip
to which what it awaits has already come, but which has not woken up yet, counts as running.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from .errors import Wait

Verdict: TypeAlias = tuple[tuple[Wait, ...], str]
"""The edges of the proof in order, and the proof in words."""


class Activity(Enum):
    """What a chip does."""

    IDLE = 0  # between programs: the next one may come
    RUNNING = 1
    WAITING = 2
    ENDED = 3  # its program of this run
    STALLED = 4  # by a fault, for ever
    CLOSED = 5


_ENDS = {
    Activity.ENDED: "has ended its program",
    Activity.STALLED: "is stalled by a fault",
    Activity.CLOSED: "has closed its end of the fabric",
}


@dataclass(frozen=True, slots=True)
class ChipStatus:
    """What a chip does; when it waits, for which chips and in what (call, step, source line).

    `since` is the number of the event that made it so: it grows with every change. With `any_of`
    one of the awaited chips is enough, else the chip needs all of them.
    """

    activity: Activity
    awaited: tuple[int, ...] = ()
    what: str = ""
    since: int = 0
    any_of: bool = False


def hopeless(statuses: Mapping[int, ChipStatus]) -> frozenset[int]:
    """The chips that wait and can never be served; a chip without status counts as running."""
    waiting = {chip: s for chip, s in statuses.items() if s.activity is Activity.WAITING}
    without_hope = set(waiting) | {c for c, s in statuses.items() if s.activity in _ENDS}
    found = True
    while found:
        found = False
        for chip, status in waiting.items():
            if chip in without_hope and _has_hope(status, without_hope):
                without_hope.remove(chip)
                found = True
    return frozenset(without_hope & set(waiting))


def verdict(statuses: Mapping[int, ChipStatus]) -> Verdict | None:
    """The smallest proof that some chips wait for ever; None when every wait may still end.

    It is a chip that is gone with all that wait for it; else the shortest cycle of waits, from its
    lowest chip on; else (with `any_of`) the smallest set of chips that wait only for each other
    and for chips that are gone.
    """
    lost = hopeless(statuses)
    if not lost:
        return None
    strict = {c: statuses[c] for c in sorted(lost) if not _is_choice(statuses[c])}
    return (
        _waits_for_the_gone(statuses, strict)
        or _shortest_cycle(strict)
        or _smallest_knot(statuses, lost)
    )


def _has_hope(status: ChipStatus, without_hope: set[int]) -> bool:
    hopes = (chip not in without_hope for chip in status.awaited)
    return any(hopes) if status.any_of else all(hopes)


def _is_choice(status: ChipStatus) -> bool:
    """Does it take more than one edge to show that this chip waits in vain?"""
    return status.any_of and len(status.awaited) != 1


def _waits_for_the_gone(
    statuses: Mapping[int, ChipStatus], strict: Mapping[int, ChipStatus]
) -> Verdict | None:
    for gone in sorted(c for c, s in statuses.items() if s.activity in _ENDS):
        edges = tuple(_edge(c, s, (gone,)) for c, s in strict.items() if gone in s.awaited)
        if edges:
            return edges, _is_gone(gone, statuses)
    return None


def _shortest_cycle(strict: Mapping[int, ChipStatus]) -> Verdict | None:
    cycles = [path for chip in strict if (path := _cycle_from(chip, strict)) is not None]
    if not cycles:
        return None
    path = min(cycles, key=lambda cycle: (len(cycle), cycle))
    following = (*path[1:], path[0])
    edges = tuple(_edge(c, strict[c], (n,)) for c, n in zip(path, following, strict=True))
    return edges, f"a cycle of waits: chip {' -> '.join(map(str, (*path, path[0])))}"


def _cycle_from(start: int, strict: Mapping[int, ChipStatus]) -> tuple[int, ...] | None:
    """The shortest cycle through `start`, breadth first."""
    before: dict[int, int] = {}
    frontier = [start]
    for chip in frontier:
        for other in sorted(strict[chip].awaited):
            if other == start:
                return tuple(reversed(list(_back(chip, before))))
            if other in strict and other not in before:
                before[other] = chip
                frontier.append(other)
    return None


def _back(chip: int, before: Mapping[int, int]) -> Iterator[int]:
    yield chip
    while (earlier := before.get(chip)) is not None:
        chip = earlier
        yield chip


def _smallest_knot(statuses: Mapping[int, ChipStatus], lost: frozenset[int]) -> Verdict:
    """A set of chips, closed under their waits; a chip that needs all leads on to one that is lost.

    An edge names what the proof needs of a wait, so a choice names all its chips.
    """
    knot = min((_knot_from(chip, statuses, lost) for chip in sorted(lost)), key=len)
    gone = sorted({c for awaited in knot.values() for c in awaited} - set(knot))
    edges = tuple(_edge(chip, statuses[chip], knot[chip]) for chip in sorted(knot))
    texts = [_is_gone(chip, statuses) for chip in gone]
    if len(knot) > 1:
        texts.append(f"chips {', '.join(map(str, sorted(knot)))} wait only for each other")
    if not texts:
        texts.append(f"chip {min(knot)} has nobody to wait for")
    return edges, "; ".join(texts)


def _knot_from(
    start: int, statuses: Mapping[int, ChipStatus], lost: frozenset[int]
) -> dict[int, tuple[int, ...]]:
    knot: dict[int, tuple[int, ...]] = {}
    frontier = [start]
    for chip in frontier:
        if chip in knot or chip not in lost:
            continue
        awaited = tuple(sorted(statuses[chip].awaited))
        if not statuses[chip].any_of:
            awaited = next((c,) for c in awaited if c in lost)
        knot[chip] = awaited
        frontier += awaited
    return knot


def _edge(chip: int, status: ChipStatus, awaited: tuple[int, ...]) -> Wait:
    return (chip, awaited, status.what)


def _is_gone(chip: int, statuses: Mapping[int, ChipStatus]) -> str:
    return f"chip {chip} {_ENDS[statuses[chip].activity]}"
