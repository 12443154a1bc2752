"""SmolLM2 generates on a QuietBox 2, and its plan takes the same simulated time, op by op."""

from pathlib import Path

import pytest

from meshtwin.chip.cost import DEFAULT_STACK
from meshtwin.chip.record import Recorder
from meshtwin.mesh.device import MeshDevice
from meshtwin.mesh.program import MeshChip
from meshtwin.models.generator import Generator
from meshtwin.models.plan import Deployment, PlannedReplica

pytestmark = [pytest.mark.ray, pytest.mark.model, pytest.mark.slow]

PROMPT = [504, 3575, 282, 4649, 314]
NUM_NEW = 4


def remember(chip: MeshChip) -> None:
    """Other tests share the mesh, and may have left little room for records."""
    chip.recorder = Recorder()


def test_a_generation_and_its_plan_take_the_same_time_op_by_op(
    quietbox2_mesh: MeshDevice, smollm2_bfloat16: Path
) -> None:
    quietbox2_mesh.run(remember)
    generator = Generator(quietbox2_mesh, smollm2_bfloat16, "performance")
    assert len(list(generator.generate(PROMPT, NUM_NEW, stop_ids=()))) == NUM_NEW
    replica = PlannedReplica(
        Deployment.of(
            "smollm2",
            prompt=len(PROMPT),
            output=NUM_NEW,
            precision="performance",
            stack=DEFAULT_STACK,
        )
    )
    phases = [replica.prefill(), *map(replica.decode, (5, 6, 7))]
    planned = [record for phase in phases for record in phase.records]
    run = quietbox2_mesh.records()[0].records[-len(planned) :]
    shift_ps = run[0].sim_start_ps - planned[0].sim_start_ps
    shifted = [record._replace(sim_start_ps=record.sim_start_ps + shift_ps) for record in planned]
    assert list(run) == shifted
    assert generator.statistics.sim_ttft_s == pytest.approx(phases[0].sim_s)
