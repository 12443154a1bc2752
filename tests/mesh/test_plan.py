"""A chip in plan mode takes the time that it takes among others that run the same program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.record import OpRecord
from meshtwin.fabric.topology import Edge, load_box
from meshtwin.mesh.plan import plan_chip
from meshtwin.mesh.program import MeshChip
from meshtwin.mesh.scenario import Scenario

from ..spmd import run_spmd

CALLS = ("all_reduce", "reduce_scatter", "all_gather", "all_to_all", "broadcast", "barrier", "add")


def program(chip: MeshChip, calls: list[str], rows: int) -> list[OpRecord]:
    """These calls, one after the other, of tensors of so many rows."""
    x = chip.tensor(np.ones((rows, 64), np.float32), "bfloat16")
    for name in calls:
        if name == "barrier":
            chip.barrier()
        elif name == "add":
            chip.add(x, x)
        elif name in ("reduce_scatter", "all_gather", "all_to_all"):
            getattr(chip, name)(x, dim=1)
        else:
            getattr(chip, name)(x)
    return chip.recorder.records()


@pytest.mark.parametrize("name", ["p300", "quietbox2", "loudbox"])
@settings(max_examples=8, deadline=None)
@given(calls=st.lists(st.sampled_from(CALLS), min_size=1, max_size=6), rows=st.integers(1, 99))
def test_every_chip_of_a_mesh_is_planned_as_it_runs(name: str, calls: list[str], rows: int) -> None:
    box = load_box(name)
    of_chips = run_spmd(box, program, lambda rank: (calls, rows))
    for rank, run in enumerate(of_chips):
        assert program(plan_chip(box, rank), calls, rows) == run


@settings(max_examples=8, deadline=None)
@given(
    edge=st.sampled_from(load_box("loudbox").edges),
    share=st.floats(0.05, 0.9),
    calls=st.lists(st.sampled_from(CALLS), min_size=1, max_size=6),
    rows=st.integers(1, 400),
)
def test_a_slow_link_holds_up_each_chip_of_a_plan_as_it_does_in_a_run(
    edge: Edge, share: float, calls: list[str], rows: int
) -> None:
    scenario = Scenario.of(load_box("loudbox")).but(f"slow_link.{edge.a}-{edge.b}", share)
    of_chips = run_spmd(scenario.box, program, lambda rank: (calls, rows))
    for rank, run in enumerate(of_chips):
        assert program(plan_chip(scenario.base, rank, scenario), calls, rows) == run
