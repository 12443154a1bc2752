"""Plans: the decoder on tensors without values."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.cost import CostModel, stacks
from meshtwin.chip.errors import InvalidArgument, OutOfMemory
from meshtwin.chip.record import OpRecord
from meshtwin.fabric.topology import Box, load_box
from meshtwin.mesh.scenario import Scenario
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.catalogue import known_models, model_shape
from meshtwin.models.errors import PlanError
from meshtwin.models.plan import Deployment, PlannedReplica, fitting_mesh
from meshtwin.models.plan_phase import Phase, total_ps
from meshtwin.models.precision import Precision
from meshtwin.models.programs import step
from meshtwin.models.sampling import Sampling

from .sharded import BOXES, Model
from .tiny import tiny_config

GALAXY = load_box("galaxy")
few = settings(max_examples=15, deadline=None)


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


@pytest.mark.parametrize(
    ("num_chips", "stack"),
    [(1, "tuned"), (2, "ttnn"), (4, "tt_transformers"), (8, "ttnn"), (32, "tt_transformers")],
)
def test_a_plan_is_what_chip_0_does_in_a_run(num_chips: int, stack: str) -> None:
    """A prefill and two decode steps with the choice of tokens: whole records, starts too."""
    config = tiny_config(num_layers=2, vocab_size=100)
    prompt, room = [1, 2, 3, 4, 5], 8
    bfloat16 = Precision.parse("bfloat16")

    def program(builder: DecoderBuilder) -> list[OpRecord]:
        decoder, chip = builder.decoder(), builder.chip
        chip.cost = CostModel(chip.spec, stack)
        step(chip, decoder, prompt, Sampling(), room)
        step(chip, decoder, [6], Sampling())
        step(chip, decoder, [7], Sampling())
        return chip.recorder.records()

    with Model(config, "BF16") as model:
        run = model.run(num_chips, bfloat16.activations, program)[0]
    box = load_box(BOXES[num_chips])
    replica = PlannedReplica(
        Deployment(config, box, box.shape, 1, 1, len(prompt), 3, bfloat16, stack)
    )
    phases = replica.prefill(), replica.decode(5), replica.decode(6)
    assert [record for phase in phases for record in phase.records] == run


@few
@given(
    name=st.sampled_from(["llama-3.1-8b", "falcon-40b", "qwen3-30b-a3b", "gpt-oss-20b"]),
    num_layers=st.integers(1, 6).map(lambda half: 2 * half),  # sliding and full ones in pairs
    tp=st.sampled_from([2, 8]),
)
def test_doubling_the_layers_doubles_their_part(name: str, num_layers: int, tp: int) -> None:
    def passes(count: int) -> tuple[Phase, Phase]:
        config = model_shape(name)
        kinds = config.layer_kinds[:count]
        config = dataclasses.replace(config, num_layers=count, layer_kinds=kinds)
        replica = PlannedReplica(deployment(tp=tp, config=config))
        return replica.prefill(), replica.decode(128)

    two, some, twice = passes(2), passes(num_layers), passes(2 * num_layers)
    for short, middle, long in zip(two, some, twice, strict=True):
        of_two_layers = (long.sim_ps - middle.sim_ps) // (num_layers // 2)
        outside = short.sim_ps - of_two_layers
        assert outside > 0
        assert long.sim_ps - outside == 2 * (middle.sim_ps - outside)


@few
@given(
    what=st.sampled_from(["dram_bandwidth_bytes_per_s", "clock_hz"]),
    factor=st.floats(1.0, 4.0),
    batch=st.sampled_from([1, 8, 32]),
    prompt=st.integers(1, 600),
    stack=st.sampled_from(stacks()),
)
def test_a_faster_chip_is_never_slower(
    what: str, factor: float, batch: int, prompt: int, stack: str
) -> None:
    shape = dataclasses.replace(model_shape("llama-3.1-8b"), num_layers=2)
    plan = deployment(config=shape, batch=batch, prompt=prompt, stack=stack)
    slow, fast = PlannedReplica(plan), PlannedReplica(plan)
    spec = slow.chip.spec
    changes: dict[str, Any] = {what: int(getattr(spec, what) * factor)}
    fast.chip.cost = CostModel(dataclasses.replace(spec, **changes), stack)
    for slower, faster in ((slow.prefill(), fast.prefill()), (slow.decode(9), fast.decode(9))):
        assert faster.sim_ps <= slower.sim_ps
        for a, b in zip(faster.records, slower.records, strict=True):
            assert a.sim_duration_ps <= b.sim_duration_ps


@pytest.mark.parametrize("tp", [2, 4, 8, 32])
def test_more_links_are_never_slower(tp: int) -> None:
    def with_links(num_links: int) -> Box:
        edges = tuple(dataclasses.replace(edge, num_links=num_links) for edge in GALAXY.edges)
        return dataclasses.replace(GALAXY, name=f"galaxy with {num_links}", edges=edges)

    shape = dataclasses.replace(model_shape("llama-3.1-8b"), num_layers=2)
    times = []
    for num_links in (1, 2, 4):
        replica = PlannedReplica(deployment(tp=tp, config=shape, box=with_links(num_links)))
        times.append((replica.prefill().sim_ps, replica.decode(128).sim_ps))
    assert times[0] >= times[1] >= times[2]
    assert times[0][0] > times[2][0]


def test_users_of_a_replica_have_all_their_caches_during_a_prefill() -> None:
    shape = dataclasses.replace(model_shape("llama-3.1-8b"), num_layers=2)
    replica = PlannedReplica(deployment(config=shape, batch=5))
    replica.prefill()
    in_prefill = replica.memory()
    replica.decode(128)
    in_both = replica.memory()
    assert in_prefill.cache_bytes == in_both.cache_bytes > 0
    assert in_both.activation_bytes >= in_prefill.activation_bytes > 0
    assert in_both.dram_peak_bytes == replica.chip.dram.peak_bytes
    assert 0 < in_both.l1_peak_bytes < in_both.l1_capacity_bytes


@given(prompt=st.integers(1, 500), output=st.integers(1, 500))
def test_decode_steps_are_where_the_tokens_are(prompt: int, output: int) -> None:
    first, middle, last = deployment(prompt=prompt, output=output).positions
    assert prompt == first <= middle <= last < prompt + output
    assert last - first + 1 == max(1, output - 1)


def test_a_model_that_does_not_fit_says_why() -> None:
    with pytest.raises(OutOfMemory, match="DRAM"):
        PlannedReplica(deployment("llama-3.1-70b", tp=1, mesh=(1, 1)))


def test_a_mesh_is_chosen_by_its_all_reduce_and_others_are_named() -> None:
    assert fitting_mesh(GALAXY, 8) in [(8, 1), (4, 2), (2, 4)]
    with pytest.raises(PlanError, match=r"no mesh of 5 chips|tp can be 1, 2, 3, 4"):
        fitting_mesh(GALAXY, 23)
    with pytest.raises(PlanError, match="needs 40 chips, and galaxy has 32: the largest dp is 4"):
        deployment(dp=5)
    with pytest.raises(PlanError, match=r"context is 131072: the largest prompt .* is 130972$"):
        deployment(prompt=131_000, output=100)
    with pytest.raises(PlanError, match=r"context is 131072: the largest output is 131071$"):
        deployment(prompt=1, output=131_072)
    assert deployment(prompt=130_972, output=100).prompt == 130_972


def test_a_replica_without_a_user_is_named_with_the_nearest_batch() -> None:
    with pytest.raises(PlanError, match=r"batch 3 leaves 1 of dp 4 replicas idle: .* batch is 4,"):
        deployment(dp=4, batch=3)


def test_a_scenario_without_changes_plans_the_same() -> None:
    plain, same = deployment(), deployment(scenario=Scenario.of(GALAXY))
    assert PlannedReplica(plain).decode(128) == PlannedReplica(same).decode(128)
    assert PlannedReplica(plain).prefill() == PlannedReplica(same).prefill()
    with pytest.raises(PlanError, match="the scenario is of quietbox2, not of galaxy"):
        deployment(scenario=Scenario.of(load_box("quietbox2")))


def test_a_slow_place_counts_where_a_replica_runs_on_it() -> None:
    slow = Scenario.of(GALAXY).but("slow_chip", "31:0.5")
    usual = PlannedReplica(deployment(dp=4, batch=4)).decode(128).sim_ps
    assert PlannedReplica(deployment(dp=3, batch=3, scenario=slow)).decode(128).sim_ps == usual
    assert PlannedReplica(deployment(dp=4, batch=4, scenario=slow)).decode(128).sim_ps > usual


def test_memory_that_was_taken_away_is_missing() -> None:
    smaller = Scenario.of(GALAXY).but("dram.gib", 0.5)
    with pytest.raises(OutOfMemory, match="DRAM"):
        PlannedReplica(deployment(scenario=smaller))
    with pytest.raises(InvalidArgument, match="unknown stack 'tund': did you mean 'tuned'"):
        deployment(stack="tund")


def test_what_a_deployment_leaves_out_has_values_that_work() -> None:
    plain = Deployment.of("llama-3.1-8b")
    assert (plain.box.name, plain.tp, plain.dp, plain.batch) == ("quietbox2", 4, 1, 1)
    shared = Deployment.of("llama-3.1-8b", "galaxy", dp=4)
    assert (shared.tp, shared.batch, shared.batch_of_replica) == (8, 4, 1)
    with pytest.raises(PlanError, match=r"dp \(=0\) must be >= 1"):
        Deployment.of("llama-3.1-8b", dp=0)
