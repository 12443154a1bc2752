"""What the times of a plan come to."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.errors import OutOfMemory
from meshtwin.models.catalogue import model_shape
from meshtwin.models.model_plan import ModelPlan, plan_model
from meshtwin.models.plan import Deployment
from meshtwin.models.plan_ops import op_rows
from meshtwin.models.plan_phase import total_ps

few = settings(max_examples=15, deadline=None)


def shallow(name: str = "llama-3.1-8b", **changes: Any) -> ModelPlan:
    """The plan of two layers of a model on a QuietBox 2, or elsewhere."""
    config = dataclasses.replace(model_shape(name), num_layers=2, layer_kinds=())
    return plan_model(dataclasses.replace(Deployment.of(name, **changes), config=config))


@few
@given(
    tp=st.sampled_from([1, 2, 4]),
    batch=st.integers(1, 40),
    prompt=st.integers(1, 300),
    output=st.integers(1, 300),
)
def test_sums_and_rates_are_those_of_the_ops(tp: int, batch: int, prompt: int, output: int) -> None:
    plan = shallow(tp=tp, batch=batch, prompt=prompt, output=output)
    for phase in (plan.prefill, plan.decode):
        assert phase.sim_ps == total_ps(phase.records)
        assert phase.records[-1].sim_end_ps - phase.records[0].sim_start_ps == phase.sim_ps
        assert sum(phase.shares.values()) == pytest.approx(1)
        rows = op_rows(phase.records, plan.peaks)
        assert sum(row.sim_duration_ps for row in rows) == phase.sim_ps
        assert sum(row.count for row in rows) == len(phase.records)
        assert sum(row.bytes for row in rows) == sum(record.bytes for record in phase.records)
        assert all(0 < (row.utilisation or 1) <= 1 for row in rows)
    assert plan.records[-1].sim_end_ps - plan.records[0].sim_start_ps == total_ps(plan.records)
    assert plan.sim_first_step_ps <= plan.decode.sim_ps <= plan.sim_last_step_ps
    assert plan.sim_tokens_per_s * plan.decode.sim_s == pytest.approx(batch)
    assert plan.sim_ttft_s * batch == pytest.approx(plan.sim_prefill_all_s)
    memory = plan.memory
    assert 0 < memory.dram_peak_bytes <= memory.dram_capacity_bytes


def test_replicas_multiply_the_tokens_and_nothing_else() -> None:
    one, four = shallow(tp=1, batch=3), shallow(tp=1, dp=4, batch=12)
    assert one.decode == four.decode and one.memory == four.memory
    assert four.sim_tokens_per_s == pytest.approx(4 * one.sim_tokens_per_s)
    assert four.sim_prefill_all_s == one.sim_prefill_all_s


def test_the_last_step_is_slower_after_a_long_output() -> None:
    plan = shallow(prompt=100, output=8000)
    assert plan.sim_first_step_ps < plan.decode.sim_ps < plan.sim_last_step_ps


def test_what_does_not_fit_is_an_error() -> None:
    with pytest.raises(OutOfMemory):
        plan_model(Deployment.of("llama-3.1-70b", "n150"))
