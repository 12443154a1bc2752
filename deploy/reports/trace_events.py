"""The JSON trace events of Chrome, which Perfetto and chrome://tracing open.

Times are microseconds of simulated time in whole nanoseconds: Perfetto rounds finer starts and
durations each by itself, and leaves out slices that overlap then. Picoseconds are in the arguments.
Source: "Trace Event Format" (Duan, Google): phases M (names) and X (slices, arrows by bind_id).
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...chip.record import ChipRecords
from .joins import Place, joins
from .lanes import LANES, details, lane_ids, process_id, title, whole_ns

Event = dict[str, Any]
NS_PER_US = 1000


def write_trace_events(path: str | Path, chips: Sequence[ChipRecords]) -> None:
    """Write the ops of these chips as JSON trace events (`.json`), an event a line.

    Raises:
        OSError: the file cannot be written.
    """
    head = {"displayTimeUnit": "ns", "otherData": {"time": "simulated"}}
    with Path(path).open("w", encoding="utf-8") as file:
        file.write(json.dumps(head)[:-1] + ', "traceEvents": [')
        separator = "\n"
        for event in events(chips):
            file.write(separator + json.dumps(event))
            separator = ",\n"
        file.write("\n]}\n")


def events(chips: Sequence[ChipRecords]) -> Iterator[Event]:
    """The trace events of these chips: names first, then slices with their arrows."""
    for chip in chips:
        yield from _names(chip, title(chip, chips))
    arrows = _arrows(chips)
    for chip in chips:
        lanes = lane_ids(chip.rank)
        for index, record in enumerate(chip.records):
            start_ns, end_ns = whole_ns(record.sim_start_ps), whole_ns(record.sim_end_ps)
            yield {
                "ph": "X", "name": record.name, "cat": record.bound,
                "pid": process_id(chip.rank), "tid": lanes[record.bound],
                "ts": start_ns / NS_PER_US, "dur": (end_ns - start_ns) / NS_PER_US,
                "args": {**details(record), "sim_start_ps": record.sim_start_ps},
                **arrows.get(Place(chip.rank, index), {}),
            }  # fmt: skip


def _names(chip: ChipRecords, name: str) -> Iterator[Event]:
    process = process_id(chip.rank)
    yield _meta("process_name", process, {"name": name})
    yield _meta("process_sort_index", process, {"sort_index": chip.rank})
    used = {record.bound for record in chip.records}
    for place, (bound, lane) in enumerate(lane_ids(chip.rank).items()):
        if bound in used:
            yield _meta("thread_name", process, {"name": LANES[bound]}, lane)
            yield _meta("thread_sort_index", process, {"sort_index": place}, lane)


def _meta(name: str, process: int, args: Event, thread: int = 0) -> Event:
    return {"ph": "M", "name": name, "pid": process, "tid": thread, "args": args}


def _arrows(chips: Sequence[ChipRecords]) -> dict[Place, Event]:
    """What ties an op to an arrow, by place: the one that a reader meets first begins it.

    Readers go by time, and through ops of one nanosecond as they stand in the file.
    """
    records = {chip.rank: chip.records for chip in chips}
    in_file = {rank: index for index, rank in enumerate(records)}

    def order(place: Place) -> tuple[int, int]:
        return whole_ns(records[place.rank][place.number].sim_start_ps), in_file[place.rank]

    found: dict[Place, Event] = {}
    for number, join in enumerate(joins(chips), start=1):
        first, *others = sorted(join.places, key=order)
        found[first] = {"bind_id": hex(number), "flow_out": True}
        for place in others:
            found[place] = {"bind_id": hex(number), "flow_in": True, "flow_out": True}
        del found[others[-1]]["flow_out"]
    return found
