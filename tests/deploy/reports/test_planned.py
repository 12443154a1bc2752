"""A plan's report holds what a run of the same program records on every chip."""

import math
from typing import Any

import numpy as np
import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.record import OpRecord
from meshtwin.collectives.communicator import Communicator
from meshtwin.deploy.reports.joins import joins
from meshtwin.deploy.reports.planned import planned_chips
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip

from ...spmd import run_spmd


def layer(chip: MeshChip, x: Any) -> None:
    y = chip.all_reduce(chip.mul(x, x), axis=0)
    chip.all_gather(chip.all_reduce(y, axis=1), dim=0)


def recorded(chip: MeshChip) -> list[OpRecord]:
    layer(chip, chip.tensor(np.ones((64, 64), np.float32)))
    return chip.recorder.records()


@pytest.mark.parametrize("name", ["p150", "p300", "quietbox2"])
def test_a_plan_is_reported_as_its_run_is(name: str) -> None:
    box = load_box(name)
    chip = MeshChip.open(box.product, plan=True)
    chip.box, chip.communicator = box, Communicator(box, 0, None, math.inf)
    layer(chip, chip.empty((64, 64), "float32"))
    plan = planned_chips(box, chip.recorder.records())
    run = run_spmd(name, recorded)
    assert [chip.product for chip in plan] == [box.product] * box.num_chips
    for chip_records, records in zip(plan, run, strict=True):
        told = [(record.name, record.output_shapes, record.group) for record in records]
        assert [(r.name, r.output_shapes, r.group) for r in chip_records.records] == told
    assert list(plan[0].records) == run[0]
    assert len(joins(plan)) == {1: 0, 2: 2, 4: 5}[box.num_chips]


def test_a_group_of_its_own_says_nothing_of_the_other_chips() -> None:
    box = load_box("quietbox2")
    shapes, dtypes = ((8,),), ("float32",) * 2
    record = OpRecord("broadcast", shapes, shapes, dtypes, 0, 9, 32, 0, "fabric", group=(0, 3))
    with pytest.raises(InvalidArgument, match=r"chips \[0, 3\] of quietbox2"):
        planned_chips(box, [record])
