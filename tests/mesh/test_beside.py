"""Collectives that run beside the ops: on the mesh's fabric, and planned."""

import pytest

from meshtwin.fabric.topology import load_box
from meshtwin.mesh.device import MeshDevice
from meshtwin.mesh.plan import plan_chip
from meshtwin.mesh.program import MeshChip

BOX = "quietbox2"
SHAPE = (32, 2048)


def program(chip: MeshChip, is_beside: bool) -> tuple[int, int, float]:
    """(simulated time, time of the collectives alone, a value) of a product beside two others."""
    x = chip.full(SHAPE, 1.0, dtype="bfloat16")
    weight = chip.full((2048, 2048), 1.0, dtype="bfloat16")
    chip.barrier()
    begin_ps = chip.clock.now_ps
    if is_beside:
        with chip.beside() as first:
            total = chip.all_reduce(x)
        with chip.beside() as second:
            more = chip.all_gather(x, 0)
        for _ in range(4):
            chip.linear(x, weight)
        first.wait()
        second.wait()
    else:
        total, more = chip.all_reduce(x), chip.all_gather(x, 0)
        for _ in range(4):
            chip.linear(x, weight)
    total = chip.add(total, chip.slice(more, (0, 0), SHAPE))
    names = ("all_reduce", "all_gather")
    fabric_ps = sum(chip.recorder.totals()[name].sim_duration_ps for name in names)
    value = 0.0 if chip.plan else float(total.to_numpy()[0, 0])
    return chip.clock.now_ps - begin_ps, fabric_ps, value


def test_a_collective_beside_products_is_hidden_by_them() -> None:
    (alone_ps, fabric_ps, _), (beside_ps, same_ps, _) = (
        program(plan_chip(load_box(BOX)), is_beside) for is_beside in (False, True)
    )
    assert fabric_ps == same_ps
    assert beside_ps == max(fabric_ps, alone_ps - fabric_ps - tail_ps()) + tail_ps()


def tail_ps() -> int:
    """The slice and the sum at the end, which come after both."""
    chip = plan_chip(load_box(BOX))
    chip.add(chip.full(SHAPE, 1.0, dtype="bfloat16"), chip.full(SHAPE, 1.0, dtype="bfloat16"))
    chip.slice(chip.full((128, 2048), 1.0, dtype="bfloat16"), (0, 0), SHAPE)
    totals = chip.recorder.totals()
    return totals["add"].sim_duration_ps + totals["slice"].sim_duration_ps


@pytest.mark.ray
def test_a_run_hides_what_its_plan_hides_and_has_the_same_values(
    quietbox2_mesh: MeshDevice,
) -> None:
    for is_beside in (False, True):
        planned_ps, _, _ = program(plan_chip(load_box(BOX)), is_beside)
        sim_ps, _, values = quietbox2_mesh.run(program, is_beside)
        assert list(sim_ps) == [planned_ps] * 4
        assert list(values) == [5.0] * 4


@pytest.mark.ray
def test_what_nobody_waits_for_ends_before_the_run_does(quietbox2_mesh: MeshDevice) -> None:
    def leave(chip: MeshChip) -> int:
        x = chip.full(SHAPE, 1.0)
        with chip.beside() as pending:
            chip.all_reduce(x)
        assert chip.clock.now_ps < pending.done_ps
        return pending.done_ps

    done_ps = quietbox2_mesh.run(leave)
    assert quietbox2_mesh.sim_now_ps == max(done_ps)
