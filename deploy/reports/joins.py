"""Which ops on different chips are one: a collective on the chips of its group, a send and a recv.

Chips of a group make their calls in one order, and the n-th recv from a chip gets its n-th send. So
the calls are paired by their order, from the last one back, for older ones may have been dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...chip.record import ChipRecords, OpRecord


class Place(NamedTuple):
    """An op of a chip: where it stands among the chip's records."""

    rank: int
    number: int


@dataclass(frozen=True, slots=True)
class Join:
    """Ops that are one, in the order in which they began; of a message, the send and the recv."""

    places: tuple[Place, ...]
    is_message: bool


def joins(chips: Sequence[ChipRecords]) -> list[Join]:
    """What joins the ops of these chips, two or more of them at a time."""
    calls: dict[tuple[bool, tuple[int, ...]], dict[int, list[int]]] = {}
    for chip in chips:
        for index, record in enumerate(chip.records):
            if len(record.group) > 1:
                key = (is_message(record), record.group)
                calls.setdefault(key, {}).setdefault(chip.rank, []).append(index)
    records = {chip.rank: chip.records for chip in chips}
    return [
        _join(places, message, records)
        for (message, group), of_group in calls.items()
        for places in _together(of_group)
        if len(places) > 1 and _fit([records[place.rank][place.number] for place in places])
    ]


def is_message(record: OpRecord) -> bool:
    """Whether it is a send or a recv."""
    return record.name in ("send", "recv")


def _together(of_group: dict[int, list[int]]) -> Iterator[list[Place]]:
    """The calls of a group, one by one: of each chip the n-th from the end, oldest first."""
    most = max(len(indices) for indices in of_group.values())
    for back in range(most, 0, -1):
        yield [
            Place(rank, indices[-back])
            for rank, indices in of_group.items()
            if len(indices) >= back
        ]


def _fit(records: list[OpRecord]) -> bool:
    """Whether these can be one op: a message that nobody received shifts those before it."""
    first = records[0]
    if is_message(first):
        return len({(record.input_shapes, record.dtypes) for record in records}) == 1
    return len({record.name for record in records}) == 1


def _join(places: list[Place], message: bool, records: dict[int, tuple[OpRecord, ...]]) -> Join:
    def order(place: Place) -> tuple[int, int]:
        record = records[place.rank][place.number]
        return (record.name == "recv" if message else record.sim_start_ps), place.rank

    return Join(tuple(sorted(places, key=order)), message)
