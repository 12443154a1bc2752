"""A chip in plan mode takes the time that it takes among others that run the same program."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.record import OpRecord
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.plan import plan_chip
from meshtwin.mesh.program import MeshChip

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
