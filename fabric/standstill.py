"""What the chips of a mesh do, seen from outside in two looks at their flight recorders.

A chip that waits looks around every PATIENCE (collectives/direct) and notes that it does, but when
what it awaited has come it may go on without a note. So it counts as waiting only when it has
noted so again between the looks, in the same call; and a proof that holds for such chips holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .flight_layout import CallState
from .flight_reader import FlightEntry, read_flight, read_status
from .waits import Activity, ChipStatus, Verdict, verdict

GONE_ON = "has gone on, or given up"


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a chip: its status, and its last calls, oldest first."""

    status: ChipStatus
    entries: tuple[FlightEntry, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """What chips do, by rank; why some wait for ever (None: that is not proved); who holds them up.

    `holders` are the chips that others wait for, and that do not wait themselves; a chip that was
    not seen (it died, or lives on another host) may be among them.
    """

    chips: Mapping[int, Look]
    verdict: Verdict | None
    holders: tuple[int, ...]


def look_at(flight: memoryview) -> Look:
    """One look, at any time."""
    return Look(read_status(flight), tuple(read_flight(flight)))


def is_settled(first: Mapping[int, Look], second: Mapping[int, Look]) -> bool:
    """Has every chip that seems to wait noted so again, or moved on? Else look a third time."""
    return all(
        look.status.activity is not Activity.WAITING
        or rank not in first
        or look.status.since != first[rank].status.since
        for rank, look in second.items()
    )


def compare(first: Mapping[int, Look], second: Mapping[int, Look]) -> Sight:
    """What two looks at the chips of a mesh, some time apart, show together."""
    chips = {rank: _settled(first.get(rank), look) for rank, look in second.items()}
    statuses = {rank: look.status for rank, look in chips.items()}
    waiting = {rank for rank, s in statuses.items() if s.activity is Activity.WAITING}
    awaited = {other for rank in waiting for other in statuses[rank].awaited}
    return Sight(chips, verdict(statuses), tuple(sorted(awaited - waiting)))


def _settled(first: Look | None, second: Look) -> Look:
    """The second look, with a wait only where it lasted."""
    status = second.status
    if status.activity is not Activity.WAITING:
        return second
    if first is not None and first.status.since != status.since and _call(first) == _call(second):
        return second
    last = second.entries[-1] if second.entries else None
    what = GONE_ON if last is not None and last.state is CallState.WAITING else ""
    return Look(ChipStatus(Activity.RUNNING, what=what, since=status.since), second.entries)


def _call(look: Look) -> int:
    return look.entries[-1].sequence if look.entries else -1
