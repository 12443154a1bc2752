"""Perfetto's own trace processor finds in our traces the ops, sums and arrows of the records."""

import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meshtwin.chip.record import ChipRecords, OpRecord
from meshtwin.deploy.cli import main
from meshtwin.deploy.reports import write_trace
from meshtwin.deploy.reports.joins import Place, joins
from meshtwin.deploy.reports.lanes import LANES, title, whole_ns
from meshtwin.deploy.reports.planned import planned_chips
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip
from meshtwin.models.model_plan import plan_model
from meshtwin.models.plan import Deployment

from ...models.tiny import hf_config, tiny_config
from ...spmd import run_spmd
from .runs import Run
from .trace_processor import Row, query

pytestmark = pytest.mark.slow

TABLES = {
    ".perfetto-trace": """create perfetto table op as
        select chip.name as chip, lane.name as lane, slice.*,
            extract_arg(slice.arg_set_id, 'debug.sim_start_ps') as start_ps,
            extract_arg(slice.arg_set_id, 'debug.sim_duration_ps') as took_ps
        from slice join track as lane on slice.track_id = lane.id
        join track as chip on lane.parent_id = chip.id""",
    ".json": """create perfetto table op as
        select chip.name as chip, lane.name as lane, slice.*,
            extract_arg(slice.arg_set_id, 'args.sim_start_ps') as start_ps,
            extract_arg(slice.arg_set_id, 'args.sim_duration_ps') as took_ps
        from slice join thread_track on slice.track_id = thread_track.id
        join thread as lane using (utid) join process as chip using (upid)""",
}
"""SQL that makes a table of ops with their chip and lane, by the ending of the trace's name."""

OPS = "select chip, lane, name, ts, dur, start_ps, took_ps from op"
SUMS = """select chip, lane, count(*) as num, sum(dur) as sum_ns, sum(took_ps) as sum_ps
    from op group by chip, lane"""
ARROWS = """select a.chip as from_chip, a.name as from_name, a.ts as from_ts,
    b.chip as to_chip, b.name as to_name, b.ts as to_ts
    from flow join op as a on slice_out = a.id join op as b on slice_in = b.id"""
LOST = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


def made_up() -> list[ChipRecords]:
    """Three chips, most of whose ops are shorter than the nanosecond that Perfetto counts in."""
    run, random_ = Run(3), random.Random(3)
    for _ in range(300):
        sim_ps = random_.choice((0, 400, 1_500, 2_000_001))
        src, dst = random_.sample(range(3), 2)
        kind = random_.random()
        if kind < 0.5:
            run.alone(src, "add", sim_ps, random_.choice(("compute", "dram", "dispatch")))
        elif kind < 0.75:
            group = random_.choice(((0, 1, 2), (0, 2), (1, 2)))
            run.together(random_.choice(("all_reduce", "barrier")), group, sim_ps)
        else:
            run.message(src, dst, sim_ps)
    return run.chips


def exchange(chip: MeshChip) -> list[OpRecord]:
    """A layer of two chips, and a message from the one that is late."""
    x = chip.tensor(np.ones((64, 64), np.float32))
    y = chip.all_reduce(chip.linear(x, x))
    if chip.rank == 0:
        chip.send(chip.mul(y, y), dst=1)
    else:
        chip.recv(src=0)
    chip.all_gather(y, dim=0)
    return chip.recorder.records()


def of_a_run() -> list[ChipRecords]:
    product = load_box("p300").product
    records = run_spmd("p300", exchange)
    return [ChipRecords(rank, product, tuple(own)) for rank, own in enumerate(records)]


SOURCES: dict[str, Callable[[], list[ChipRecords]]] = {"made up": made_up, "a run": of_a_run}


@pytest.mark.parametrize("ending", TABLES)
@pytest.mark.parametrize("source", SOURCES)
def test_it_finds_what_the_records_say(source: str, ending: str, tmp_path: Path) -> None:
    chips = SOURCES[source]()
    trace = tmp_path / f"run{ending}"
    write_trace(trace, chips)
    check(trace, chips)


def test_it_finds_what_a_plan_says(tmp_path: Path) -> None:
    config, trace = tmp_path / "config.json", tmp_path / "plan.perfetto-trace"
    config.write_text(json.dumps(hf_config(tiny_config(vocab_size=100))))
    argv = ["plan", str(config), "--box", "quietbox2", "--prompt", "5", "--output", "9"]
    assert main([*argv, "--no-ops", "--trace", str(trace)]) == 0
    plan = plan_model(Deployment.of(str(config), "quietbox2", prompt=5, output=9))
    chips = planned_chips(plan.box, plan.records)
    assert len(chips) == 4 and len(chips[0].records) > 40
    check(trace, chips)


def check(trace: Path, chips: Sequence[ChipRecords]) -> None:
    """Ask the trace processor for ops, sums, arrows and losses, and compare with the records."""
    _, ops, sums, arrows, lost = query(trace, TABLES[trace.suffix], OPS, SUMS, ARROWS, LOST)
    assert lost == []
    assert Counter(ops) == Counter(
        (*lane, record.name, *_ns(record), record.sim_start_ps, record.sim_duration_ps)
        for lane, record in _by_lane(chips)
    )
    assert sorted(sums) == sorted(_sums(chips))
    assert Counter(arrows) == Counter(_arrows(chips))
    assert arrows
    for chip in chips:  # ops that touch still touch, so that whole nanoseconds add up to the end
        last_ns = whole_ns(chip.records[-1].sim_end_ps)
        assert last_ns == sum(row[3] for row in sums if row[0] == title(chip, chips))


def _by_lane(chips: Sequence[ChipRecords]) -> list[tuple[tuple[str, str], OpRecord]]:
    return [
        ((title(chip, chips), LANES[record.bound]), record)
        for chip in chips
        for record in chip.records
    ]


def _ns(record: OpRecord) -> tuple[int, int]:
    """Start and duration in whole nanoseconds: from the start, rounded down, to the end, too."""
    start_ns = whole_ns(record.sim_start_ps)
    return start_ns, whole_ns(record.sim_end_ps) - start_ns


def _sums(chips: Sequence[ChipRecords]) -> list[Row]:
    num: Counter[tuple[str, str]] = Counter()
    sum_ns: Counter[tuple[str, str]] = Counter()
    sum_ps: Counter[tuple[str, str]] = Counter()
    for lane, record in _by_lane(chips):
        num[lane] += 1
        sum_ns[lane] += _ns(record)[1]
        sum_ps[lane] += record.sim_duration_ps
    return [(*lane, num[lane], sum_ns[lane], sum_ps[lane]) for lane in num]


def _arrows(chips: Sequence[ChipRecords]) -> list[Row]:
    """From each op of a join to the one that began next."""
    records = {chip.rank: chip.records for chip in chips}
    titles = {chip.rank: title(chip, chips) for chip in chips}

    def end(place: Place) -> tuple[Any, ...]:
        record = records[place.rank][place.number]
        return titles[place.rank], record.name, whole_ns(record.sim_start_ps)

    found = []
    for join in joins(chips):
        ends = [end(place) for place in sorted(join.places)]  # by rank, as they stand in the file
        ends.sort(key=lambda one: one[2])
        found += [(*a, *b) for a, b in pairwise(ends)]
    return found
