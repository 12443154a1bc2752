"""JSON trace events: exact to the picosecond, and each arrow lies within the ops that it joins."""

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


def ps(event: Event, name: str) -> int:
    return round(float(event[name]) * 1e6)


@few
@given(run=runs())
def test_slices_are_the_records(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    slices = [e for e in written(tmp_path_factory.mktemp("trace"), run) if e["ph"] == "X"]
    for rank, records in enumerate(run.records):
        own = [e for e in slices if e["pid"] == rank + 1]
        assert [(e["name"], ps(e, "ts"), ps(e, "dur")) for e in own] == [
            (record.name, record.sim_start_ps, record.sim_duration_ps) for record in records
        ]
        assert [(e["args"]["bytes"], e["args"]["flops"], e["args"]["bound"]) for e in own] == [
            (record.bytes, record.flops, record.bound) for record in records
        ]
    assert len(slices) == sum(map(len, run.records))


@few
@given(run=runs())
def test_an_arrow_begins_once_ends_once_and_never_goes_back_in_time(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = written(tmp_path_factory.mktemp("trace"), run)
    arrows: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "stf":
            arrows[event["id"]].append(event)
    assert len(arrows) == run.num_joins
    for points in arrows.values():
        phases = "".join(point["ph"] for point in points)
        assert phases == "s" + "t" * (len(points) - 2) + "f"
        assert len({point["pid"] for point in points}) == len(points)
        times = [ps(point, "ts") for point in points]
        assert times == sorted(times)
        for point in points:
            assert any(
                e["ph"] == "X"
                and (e["pid"], e["tid"]) == (point["pid"], point["tid"])
                and ps(e, "ts") <= ps(point, "ts") <= ps(e, "ts") + ps(e, "dur")
                for e in events
            )


def test_chips_and_lanes_that_hold_something_have_names(tmp_path: Path) -> None:
    events = written(tmp_path, sample())
    lanes = {e["tid"]: (e["pid"], e["args"]["name"]) for e in events if e["name"] == "thread_name"}
    assert sorted(lanes.values()) == [
        (1, "compute"), (1, "dispatch"), (1, "fabric (links)"), (2, "DRAM"), (2, "fabric (links)"),
    ]  # fmt: skip
    names = [e["args"]["name"] for e in events if e["name"] == "process_name"]
    assert names == ["chip 0 (p300c), simulated time", "chip 1 (p300c), simulated time"]
