"""Plans: the decoder on tensors without values."""

import dataclasses

import numpy as np
import pytest

from meshtwin.chip.errors import OutOfMemory
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip
from meshtwin.mesh.scenario import Scenario
from meshtwin.models.catalogue import known_models, model_shape
from meshtwin.models.errors import PlanError
from meshtwin.models.plan import Deployment, PlannedReplica, fitting_mesh, total_ps
from meshtwin.models.precision import Precision

from .sharded import Model
from .tiny import tiny_config

GALAXY = load_box("galaxy")


def deployment(name: str = "llama-3.1-8b", tp: int = 8, **changes: object) -> Deployment:
    """A model on a part of a Galaxy."""
    plain = Deployment(
        config=model_shape(name),
        box=GALAXY,
        mesh=fitting_mesh(GALAXY, tp),
        dp=1,
        batch=1,
        prompt=128,
        output=128,
        precision=Precision.parse("performance"),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in known_models() if name != "smollm2-135m"])
def test_every_known_model_can_be_planned(name: str) -> None:
    replica = PlannedReplica(deployment(name))
    prefill, decode = replica.prefill(), replica.decode(128)
    assert prefill.sim_ps == total_ps(prefill.records) > decode.sim_ps == total_ps(decode.records)
    assert all(not record.bytes or record.sim_duration_ps for record in decode.records)


def test_a_plan_has_the_ops_and_times_of_a_run() -> None:
    config = tiny_config(num_layers=2, vocab_size=100)

    def records(chip: MeshChip) -> list[tuple[object, ...]]:
        return [record[:3] + record[5:] for record in chip.recorder.records()]

    def program(builder: object) -> list[tuple[object, ...]]:
        decoder = builder.decoder()  # type: ignore[attr-defined]
        chip: MeshChip = builder.chip  # type: ignore[attr-defined]
        chip.recorder.clear()
        decoder.start(chip, 1, 5)
        decoder.forward(chip, np.array([[1, 2, 3, 4, 5]], np.int32))
        decoder.start(chip, 1, 12)
        decoder.cache.lengths = [7]
        decoder.forward(chip, np.array([[6]], np.int32))
        return records(chip)

    with Model(config, "BF16") as model:
        run = model.run(4, Precision.parse("bfloat16").activations, program)[0]
    plan = PlannedReplica(
        Deployment(config, load_box("quietbox2"), (2, 2), 1, 1, 5, 7, Precision.parse("bfloat16"))
    )
    prefill, decode = plan.prefill(), plan.decode(7)
    planned = [record[:3] + record[5:] for record in (*prefill.records, *decode.records)]
    assert planned == run


def test_more_layers_take_as_much_longer() -> None:
    config = model_shape("llama-3.1-8b")
    times = []
    for num_layers in (1, 2, 4):
        shorter = dataclasses.replace(config, num_layers=num_layers)
        times.append(PlannedReplica(deployment(config=shorter)).decode(128).sim_ps)
    assert times[2] - times[1] == 2 * (times[1] - times[0]) > 0


def test_a_model_that_does_not_fit_says_why() -> None:
    with pytest.raises(OutOfMemory, match="DRAM"):
        PlannedReplica(deployment("llama-3.1-70b", tp=1, mesh=(1, 1)))


def test_a_mesh_is_chosen_by_its_all_reduce_and_others_are_named() -> None:
    assert fitting_mesh(GALAXY, 8) in [(8, 1), (4, 2), (2, 4)]
    with pytest.raises(PlanError, match=r"no mesh of 5 chips|tp can be 1, 2, 3, 4"):
        fitting_mesh(GALAXY, 23)
    with pytest.raises(PlanError, match="needs 40 chips, and galaxy has 32: the largest dp is 4"):
        deployment(dp=5)
    with pytest.raises(PlanError, match="context is 131072"):
        deployment(prompt=131_000, output=100)


def test_a_scenario_without_changes_plans_the_same() -> None:
    plain, same = deployment(), deployment(scenario=Scenario.of(GALAXY))
    assert PlannedReplica(plain).decode(128) == PlannedReplica(same).decode(128)
    assert PlannedReplica(plain).prefill() == PlannedReplica(same).prefill()
    with pytest.raises(PlanError, match="the scenario is of quietbox2, not of galaxy"):
        deployment(scenario=Scenario.of(load_box("quietbox2")))


def test_a_slow_place_counts_where_a_replica_runs_on_it() -> None:
    slow = Scenario.of(GALAXY).but("slow_chip", "31:0.5")
    usual = PlannedReplica(deployment(dp=4)).decode(128).sim_ps
    assert PlannedReplica(deployment(dp=3, scenario=slow)).decode(128).sim_ps == usual
    assert PlannedReplica(deployment(dp=4, scenario=slow)).decode(128).sim_ps > usual


def test_memory_that_was_taken_away_is_missing() -> None:
    smaller = Scenario.of(GALAXY).but("dram.gib", 0.5)
    with pytest.raises(OutOfMemory, match="DRAM"):
        PlannedReplica(deployment(scenario=smaller))
