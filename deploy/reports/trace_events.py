"""The JSON trace events of Chrome, which Perfetto and chrome://tracing open.

Times are microseconds with six decimals, which is picoseconds, of simulated time.
Source: "Trace Event Format" (Duan, Google): phases M (names), X (slices), s, t and f (arrows).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...chip.record import ChipRecords, OpRecord
from ...chip.units import PS_PER_US
from .joins import Join, joins
from .lanes import LANES, details, lane_ids, process_id, title

Event = dict[str, Any]


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
    """The trace events of these chips: names first, then slices, then arrows."""
    for chip in chips:
        yield from _names(chip)
    for chip in chips:
        lanes = lane_ids(chip.rank)
        for record in chip.records:
            yield {
                "ph": "X", "name": record.name, "cat": record.bound,
                "pid": process_id(chip.rank), "tid": lanes[record.bound],
                "ts": _us(record.sim_start_ps), "dur": _us(record.sim_duration_ps),
                "args": {**details(record), "sim_start_ps": record.sim_start_ps},
            }  # fmt: skip
    records = {chip.rank: chip.records for chip in chips}
    for number, join in enumerate(joins(chips), start=1):
        yield from _arrow(number, join, records)


def _names(chip: ChipRecords) -> Iterator[Event]:
    process = process_id(chip.rank)
    yield _meta("process_name", process, {"name": title(chip)})
    yield _meta("process_sort_index", process, {"sort_index": chip.rank})
    used = {record.bound for record in chip.records}
    for place, (bound, lane) in enumerate(lane_ids(chip.rank).items()):
        if bound in used:
            yield _meta("thread_name", process, {"name": LANES[bound]}, lane)
            yield _meta("thread_sort_index", process, {"sort_index": place}, lane)


def _meta(name: str, process: int, args: Event, thread: int = 0) -> Event:
    return {"ph": "M", "name": name, "pid": process, "tid": thread, "args": args}


def _arrow(number: int, join: Join, records: Mapping[int, tuple[OpRecord, ...]]) -> Iterator[Event]:
    """The points of an arrow, each in an op: where it begins, and of a recv where it ends."""
    last = len(join.places) - 1
    for place, (rank, index) in enumerate(join.places):
        record = records[rank][index]
        at_end = join.is_message and place == last
        event: Event = {
            "ph": "s" if place == 0 else "f" if place == last else "t",
            "id": number, "name": "message" if join.is_message else record.name, "cat": "flow",
            "pid": process_id(rank), "tid": lane_ids(rank)[record.bound],
            "ts": _us(record.sim_end_ps if at_end else record.sim_start_ps),
        }  # fmt: skip
        if place == last:
            event["bp"] = "e"  # it points to the slice around it, not to the next one
        yield event


def _us(sim_ps: int) -> float:
    return sim_ps / PS_PER_US
