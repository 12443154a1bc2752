"""Faults on a mesh of actors: errors arrive by type, chips die, and callers hear of it at once."""

import os
import signal
import threading
import time
from typing import Any, get_args

import numpy as np
import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.fabric.errors import FabricHang, LinkDown
from meshtwin.fabric.fault_events import ChipKill, ChipStall, LinkCut, LinkFlaky
from meshtwin.fabric.faults import FaultPlan, Policy
from meshtwin.mesh.device import open_mesh
from meshtwin.mesh.errors import ChipDown
from meshtwin.mesh.placement import Replicate
from meshtwin.mesh.pool import MeshPool
from meshtwin.mesh.program import MeshChip

pytestmark = pytest.mark.ray
WITHIN_S = 2.0
"""Wall time in which a caller hears of a chip that is gone; on a busy machine, three times that."""


def total(chip: MeshChip, x: Any) -> Any:
    return chip.all_reduce(x)


def test_a_rerouted_mesh_goes_on_and_a_strict_one_says_which_link(ray_session: None) -> None:
    events = (LinkCut((0, 1)), LinkFlaky((2, 3), drop=0.1, corrupt=0.1))
    array = np.arange(4000, dtype=np.float32)
    with open_mesh("quietbox2", faults=FaultPlan(events, policy="reroute")) as mesh:
        y = mesh.run(total, mesh.replicate(array), out=Replicate())
        np.testing.assert_array_equal(mesh.to_numpy(y), 4 * array)
        assert "routed over shared_memory" in mesh.reports()[0].transports.values()
    with open_mesh("quietbox2", faults=FaultPlan(events)) as mesh:
        with pytest.raises(LinkDown, match=r"from chip \d to chip \d is down"):
            mesh.run(total, mesh.replicate(array))
        assert mesh.run(lambda chip: chip.rank) == [0, 1, 2, 3]  # the mesh lives on


def test_a_stalled_chip_is_named_and_a_killed_one_is_down(ray_session: None) -> None:
    array = np.ones(10, np.float32)
    with (
        open_mesh("quietbox2", faults=FaultPlan((ChipStall(2, 0),))) as mesh,
        pytest.raises(FabricHang, match="chip 2 is stalled by a fault"),
    ):
        mesh.run(total, mesh.replicate(array))
    with open_mesh("quietbox2", faults=FaultPlan((ChipKill(3, 0),))) as mesh:
        x = mesh.replicate(array)
        started = time.monotonic()
        with pytest.raises(ChipDown) as error:
            mesh.run(total, x)
        assert error.value.chip == 3
        assert time.monotonic() - started < 3 * WITHIN_S


CALLS: dict[str, Any] = {
    "all_reduce": lambda chip, x: chip.all_reduce(x),
    "reduce_scatter": lambda chip, x: chip.reduce_scatter(x, 0),
    "all_gather": lambda chip, x: chip.all_gather(x, 0),
    "all_to_all": lambda chip, x: chip.all_to_all(x, 0),
    "broadcast": lambda chip, x: chip.broadcast(x, 1),
    "reduce": lambda chip, x: chip.reduce(x, 1),
    "gather": lambda chip, x: chip.gather(x, 0, 1),
    "scatter": lambda chip, x: chip.scatter(x, 0, 1),
    "barrier": lambda chip, x: chip.barrier(),
    "send": lambda chip, x: chip.send(x, 1) if chip.rank == 0 else chip.recv(0),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_a_chip_that_is_killed_in_any_collective_is_down_under_both_policies(
    name: str, ray_session: None
) -> None:
    for policy in get_args(Policy):
        plan = FaultPlan((ChipKill(0, 0),), policy=policy)
        with open_mesh("p300", faults=plan) as mesh:
            x = mesh.replicate(np.ones(8, np.float32))
            started = time.monotonic()
            with pytest.raises(ChipDown) as error:
                mesh.run(CALLS[name], x)
            assert error.value.chip == 0
            assert time.monotonic() - started < 3 * WITHIN_S


def test_a_plan_that_the_box_does_not_fit_is_refused_before_anything_starts() -> None:
    with pytest.raises(InvalidArgument, match=r"no link \(0, 3\); the nearest is"):
        open_mesh("quietbox2", faults=FaultPlan((LinkCut((0, 3)),)))
    with pytest.raises(InvalidArgument, match="did you mean 'routed'"):
        open_mesh("quietbox2", transport="route")


def reduce_for_ever(chip: MeshChip, x: Any) -> None:
    while True:
        chip.all_reduce(x)


@pytest.mark.slow
def test_the_kill_of_one_of_32_chips_in_an_all_reduce_is_heard_of_at_once(
    meshtwin_pool: MeshPool,
) -> None:
    mesh = meshtwin_pool.get("galaxy")
    x = mesh.replicate(np.ones(1000, np.float32))
    victim = mesh.reports()[17].pid
    killed: list[float] = []

    def kill() -> None:
        killed.append(time.monotonic())
        os.kill(victim, signal.SIGKILL)

    threading.Timer(1.0, kill).start()
    with pytest.raises(ChipDown) as error:
        mesh.run(reduce_for_ever, x)
    assert error.value.chip == 17
    assert time.monotonic() - killed[0] < 3 * WITHIN_S
    print("heard of after", time.monotonic() - killed[0])
    assert not mesh.is_open
