"""JSON trace events: in whole nanoseconds that touch where ops do, with arrows between the ops."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from meshtwin.deploy.reports.trace_events import write_trace_events

from .runs import Run, few, runs, sample

Event = dict[str, Any]


def written(folder: Path, run: Run) -> list[Event]:
    path = folder / "run.json"
    write_trace_events(path, run.chips)
    trace = json.loads(path.read_text(encoding="utf-8"))
    assert trace["otherData"] == {"time": "simulated"}
    events: list[Event] = trace["traceEvents"]
    return events


def ns(event: Event, name: str) -> int:
    """A time of an event, which must be a whole number of nanoseconds."""
    time_ns = float(event[name]) * 1e3
    assert time_ns == pytest.approx(round(time_ns), abs=1e-6)
    return round(time_ns)


@few
@given(run=runs())
def test_slices_are_the_records(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    slices = [e for e in written(tmp_path_factory.mktemp("trace"), run) if e["ph"] == "X"]
    for rank, records in enumerate(run.records):
        own = [e for e in slices if e["pid"] == rank + 1]
        assert [(e["name"], ns(e, "ts"), ns(e, "ts") + ns(e, "dur")) for e in own] == [
            (record.name, record.sim_start_ps // 1000, record.sim_end_ps // 1000)
            for record in records
        ]
        for name in ("sim_start_ps", "sim_duration_ps", "bytes", "flops", "bound"):
            assert [e["args"][name] for e in own] == [getattr(r, name) for r in records]
    assert len(slices) == sum(map(len, run.records))


@few
@given(run=runs())
def test_an_arrow_begins_once_ends_once_and_never_goes_back_in_time(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    arrows: dict[str, list[Event]] = defaultdict(list)
    for event in written(tmp_path_factory.mktemp("trace"), run):
        if "bind_id" in event:
            arrows[event["bind_id"]].append(event)
    assert len(arrows) == run.num_joins
    for ops in arrows.values():
        ops.sort(key=lambda e: ns(e, "ts"))  # of one time: as they stand in the file
        first, *between, last = [(e.get("flow_in", False), e.get("flow_out", False)) for e in ops]
        assert (first, last) == ((False, True), (True, False))
        assert set(between) <= {(True, True)}
        assert len({e["pid"] for e in ops}) == len(ops)


def test_chips_and_lanes_that_hold_something_have_names(tmp_path: Path) -> None:
    events = written(tmp_path, sample())
    lanes = {e["tid"]: (e["pid"], e["args"]["name"]) for e in events if e["name"] == "thread_name"}
    assert sorted(lanes.values()) == [
        (1, "compute"), (1, "dispatch"), (1, "fabric (links)"), (2, "DRAM"), (2, "fabric (links)"),
    ]  # fmt: skip
    names = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert names == ["chip 0 (p300c), simulated time", "chip 1 (p300c), simulated time"]
