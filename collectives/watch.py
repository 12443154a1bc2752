"""Watching over a chip that waits: is there any way for it to go on?

Every chip writes into its flight recorder what it does and whom it waits for; chips of one host
read each other's. A chip that has waited for a while looks at all of them. If the verdict is that
it waits in vain, it looks again and again until every waiting chip of the proof has looked twice
since, and still waits in the same call: then all of them were blocked at one and the same time,
and nothing can change that any more. Chips on other hosts cannot be seen, and count as running.

A frame may be under way to a chip that waits for it. So nothing is certain while a chip that waits
for a frame of another has taken fewer than that one has sent it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..fabric.errors import FabricHang
from ..fabric.flight_reader import (
    FlightEntry,
    num_sent,
    num_taken,
    read_flight,
    read_status,
    waits_for_frame,
)
from ..fabric.flight_recorder import FlightRecorder
from ..fabric.waits import Activity, ChipStatus, Verdict, verdict
from .errors import CollectiveMismatch

MOST_SHOWN = 4
"""Calls of each chip that an error shows."""
LOOKS = 2
"""How often each waiting chip must have looked since a proof was first seen."""
GRACE_LOOKS = 4
"""How often a chip looks again when it is certain, so that the others come to see it themselves."""

RUN_MARK, RUN_BEGINS = -2, "a program begins"
"""The entry that a recorder gets at the start of each run: number and text."""

Flights = Callable[[], Mapping[int, memoryview]]
"""The flight recorders of the chips that are in this run and on this host, by rank."""


@dataclass(slots=True)
class _Suspicion:
    """A verdict, and what the chips of its proof looked like when it was first seen."""

    calls: dict[int, int]  # the running number of the call that each chip is in
    since: dict[int, int]
    looks: dict[int, int]
    times_certain: int = 0


class Watch:
    """Looks after one chip's waits. `look` is called now and then while it waits."""

    def __init__(self, rank: int, recorder: FlightRecorder, flights: Flights) -> None:
        self.rank, self.recorder, self.flights = rank, recorder, flights
        self._suspicion: _Suspicion | None = None

    def look(self, awaited: tuple[int, ...], any_of: bool = False) -> None:
        """Say whom this chip waits for, and see whether it waits in vain.

        Raises:
            CollectiveMismatch: it does, since chips made different calls in this run.
            FabricHang: it does for another reason: a cycle, a chip that has ended or is stalled.
        """
        self.recorder.wait(awaited, any_of)
        buffers = self.flights()
        statuses = {chip: read_status(buffer) for chip, buffer in buffers.items()}
        found = verdict(statuses)
        if (
            found is None
            or not self._is_hopeless(found, awaited, statuses)
            or self._may_be_under_way(statuses, buffers)
        ):
            self._suspicion = None
            return
        if self._is_certain(found, statuses, buffers):
            self._suspicion = None
            raise self._error(found, statuses, buffers)

    def over(self) -> None:
        """What this chip waited for has come: the others must not count on its wait any more."""
        self._suspicion = None
        self.recorder.resume()

    def aborted(self, awaited: tuple[int, ...], by: int) -> None:
        """Chip `by` has given up while this one waited: was it for a reason that holds here?

        A chip that does something else now gave up for a reason of its own.

        Raises:
            CollectiveMismatch, FabricHang: as `look`, without looking again: the other one has.
        """
        buffers = self.flights()
        statuses = {chip: read_status(buffer) for chip, buffer in buffers.items()}
        if by in statuses and statuses[by].activity in (Activity.IDLE, Activity.RUNNING):
            return
        found = verdict(statuses)
        if found is not None and self._is_hopeless(found, awaited, statuses):
            raise self._error(found, statuses, buffers)

    def _error(
        self,
        found: Verdict,
        statuses: Mapping[int, ChipStatus],
        buffers: Mapping[int, memoryview],
    ) -> Exception:
        """The error for a verdict: chips that made different calls, or a hang.

        A chip that has ended, or is stalled, is reason enough: groups may differ in their calls.
        """
        histories = {chip: calls_of_run(buffer) for chip, buffer in buffers.items()}
        edges, why = found
        lost = _chips_of(found)
        all_wait = all(statuses[chip].activity is Activity.WAITING for chip in lost)
        different = first_difference(histories, lost | {self.rank})
        if all_wait and different is not None:
            number, first, other = different
            return CollectiveMismatch(
                self.rank, number, first[0], *_call_and_line(first[1]),
                other[0], *_call_and_line(other[1]),
            )  # fmt: skip
        return FabricHang(self.rank, edges, why, _last_calls(histories))

    def _is_hopeless(
        self, found: Verdict, awaited: tuple[int, ...], statuses: Mapping[int, ChipStatus]
    ) -> bool:
        """Does this chip wait for one that the proof says will never come?"""
        lost = _chips_of(found)
        pending, seen = list(awaited), {self.rank}
        while pending:
            chip = pending.pop()
            if chip in lost:
                return True
            if chip not in seen and chip in statuses:
                seen.add(chip)
                if statuses[chip].activity is Activity.WAITING:
                    pending += statuses[chip].awaited
        return False

    def _may_be_under_way(
        self, statuses: Mapping[int, ChipStatus], buffers: Mapping[int, memoryview]
    ) -> bool:
        """Is a frame that a chip waits for on its way to it?"""
        return any(
            num_sent(buffers[src], chip) != num_taken(buffers[chip], src)
            for chip, status in statuses.items()
            if status.activity is Activity.WAITING and waits_for_frame(buffers[chip])
            for src in status.awaited
            if src in buffers
        )

    def _is_certain(
        self,
        found: Verdict,
        statuses: Mapping[int, ChipStatus],
        buffers: Mapping[int, memoryview],
    ) -> bool:
        """Has every waiting chip of the proof looked again since, in the same call?"""
        chips = (_chips_of(found) & statuses.keys()) | {self.rank}
        calls = {chip: _last_sequence(buffers[chip]) for chip in chips}
        since = {chip: statuses[chip].since for chip in chips}
        known = self._suspicion
        if known is None or known.calls != calls:
            self._suspicion = _Suspicion(calls, since, dict.fromkeys(chips, 0))
            return False
        for chip in chips:
            if known.since[chip] != since[chip]:
                known.looks[chip] += 1
                known.since[chip] = since[chip]
        if all(
            looks >= LOOKS or statuses[chip].activity is not Activity.WAITING
            for chip, looks in known.looks.items()
        ):
            known.times_certain += 1
        return known.times_certain > GRACE_LOOKS


def _chips_of(found: Verdict) -> set[int]:
    """The chips of a proof: those that wait, and those that are waited for."""
    return {chip for waiting, others, _ in found[0] for chip in (waiting, *others)}


def first_difference(
    histories: Mapping[int, list[FlightEntry]], chips: set[int]
) -> tuple[int, tuple[int, str], tuple[int, str]] | None:
    """The first call of a run that is not the same on all chips: its number, and both sides.

    Each chip's calls are numbered from zero in a run. Only what all recorders still hold is
    compared, and only calls of collectives (sends and receives differ from chip to chip). Calls
    that both chips have done were right: they were of different groups.
    """
    under_way = {
        chip: histories[chip][-1].number for chip in chips & histories.keys() if histories[chip]
    }
    by_chip = {
        chip: {entry.number: entry.text for entry in histories[chip] if entry.number >= 0}
        for chip in sorted(chips & histories.keys())
    }
    if len(by_chip) < 2:
        return None
    lowest = max((min(calls, default=0) for calls in by_chip.values()), default=0)
    highest = min(max(calls, default=-1) for calls in by_chip.values())
    for number in range(lowest, highest + 1):
        calls = {c: texts[number] for c, texts in by_chip.items() if number in texts}
        first = next(iter(calls), None)
        for chip, text in calls.items():
            if (
                first is not None
                and number in (under_way[first], under_way[chip])
                and _call_and_line(text)[0] != _call_and_line(calls[first])[0]
            ):
                return number, (first, calls[first]), (chip, text)
    return None


def _call_and_line(text: str) -> tuple[str, str]:
    call, _, line = text.rpartition(" at ")
    return call, line


def calls_of_run(buffer: memoryview) -> list[FlightEntry]:
    """The calls of a chip since its program began, as far as its recorder still holds them."""
    entries = read_flight(buffer)
    begins = [place for place, entry in enumerate(entries) if entry.number == RUN_MARK]
    return entries[begins[-1] + 1 :] if begins else entries


def _last_sequence(buffer: memoryview) -> int:
    entries = read_flight(buffer)
    return entries[-1].sequence if entries else -1


def _last_calls(histories: Mapping[int, list[FlightEntry]]) -> str:
    """The last calls of each chip, for the end of an error's text."""
    lines = []
    for chip, entries in sorted(histories.items()):
        shown = [f"#{e.number} {e.text}" for e in entries[-MOST_SHOWN:]]
        lines.append(f"\n  last calls of chip {chip}: " + ("; ".join(shown) or "none"))
    return "".join(lines)
