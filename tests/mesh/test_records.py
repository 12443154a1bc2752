"""What a mesh's chips tell of the ops that they ran."""

from typing import Any

import numpy as np
import pytest

from meshtwin.chip.record import Recorder
from meshtwin.mesh.device import MeshDevice
from meshtwin.mesh.program import MeshChip

pytestmark = pytest.mark.ray


def forget(chip: MeshChip, depth: int = 1000) -> None:
    chip.recorder = Recorder(depth)


def layer(chip: MeshChip, x: Any, w: Any) -> None:
    y = chip.all_reduce(chip.linear(x, w))
    if chip.rank == 0:
        chip.send(y, 3)
    if chip.rank == 3:
        chip.recv(0)
    chip.barrier(axis=0)


def test_records_tell_groups_cores_and_fidelity(quietbox2_mesh: MeshDevice) -> None:
    mesh = quietbox2_mesh
    mesh.run(forget)
    begin_ps = mesh.sim_now_ps
    x = mesh.replicate(np.ones((32, 64), np.float32), dtype="bfloat16")
    mesh.run(layer, x, mesh.replicate(np.ones((64, 64), np.float32), dtype="bfloat16"))
    chips = mesh.records()
    assert [(chip.rank, chip.product, chip.num_dropped) for chip in chips] == [
        (rank, mesh.box.product, 0) for rank in range(4)
    ]
    told = [[(record.name, record.group) for record in chip.records] for chip in chips]
    everybody, left, right = (0, 1, 2, 3), (0, 2), (1, 3)
    assert told == [
        [("linear", ()), ("all_reduce", everybody), ("send", (0, 3)), ("barrier", left)],
        [("linear", ()), ("all_reduce", everybody), ("barrier", right)],
        [("linear", ()), ("all_reduce", everybody), ("barrier", left)],
        [("linear", ()), ("all_reduce", everybody), ("recv", (0, 3)), ("barrier", right)],
    ]
    product = chips[0].records[0]
    assert (product.num_cores, product.fidelity_phases) == (2, 2)
    assert max(chip.records[-1].sim_end_ps for chip in chips) == mesh.sim_now_ps > begin_ps


def test_a_run_that_failed_leaves_no_records(quietbox2_mesh: MeshDevice) -> None:
    def fails(chip: MeshChip, x: Any) -> None:
        chip.all_reduce(chip.add(x, x))
        if chip.rank == 1:
            raise RuntimeError("stop")
        chip.all_reduce(x)

    mesh = quietbox2_mesh
    mesh.run(forget)
    x = mesh.replicate(np.ones((32, 64), np.float32))
    mesh.run(lambda chip, x: chip.add(x, x) and None, x)
    before = mesh.records()
    with pytest.raises(RuntimeError, match="stop"):
        mesh.run(fails, x)
    assert mesh.records() == before
    assert [len(chip.records) for chip in before] == [1] * 4


def test_old_ops_are_dropped_and_counted(p300_mesh: MeshDevice) -> None:
    def adds(chip: MeshChip, x: Any) -> None:
        for _ in range(7):
            chip.add(x, x)

    p300_mesh.run(forget, 3)
    p300_mesh.run(adds, p300_mesh.replicate(np.ones(8, np.float32)))
    chips = p300_mesh.records()
    p300_mesh.run(forget)
    assert [(len(chip.records), chip.num_dropped) for chip in chips] == [(3, 4)] * 2
