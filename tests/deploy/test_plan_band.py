"""Bands of plans: how wide, and why."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.deploy.cli import main
from meshtwin.deploy.experiments.evaluate import evaluate
from meshtwin.deploy.plan_band import PlanBand, band_of
from meshtwin.mesh.scenario import Scenario
from meshtwin.models.model_plan import ModelPlan, plan_model
from meshtwin.models.plan import Deployment

few = settings(max_examples=10, deadline=None)


def planned(model: str = "llama-3.1-8b", box: str = "n300", **more: object) -> ModelPlan:
    """A plan; n300 and 8B are among the measured rows."""
    return plan_model(Deployment.of(model, box, **more))  # type: ignore[arg-type]


def width(band: PlanBand) -> float:
    """Of the band of a step, as a factor."""
    return band.decode.high / band.decode.low


def test_a_plan_like_a_measured_row_has_the_band_of_the_rows() -> None:
    band = band_of(planned())
    assert band.notes == ()
    assert 0.8 < band.decode.low < 1 < band.decode.high < 1.25


@few
@given(st.sampled_from([1, 8, 32]), st.sampled_from([128, 700, 3000]))
def test_what_is_planned_lies_in_its_band(batch: int, prompt: int) -> None:
    plan = planned("llama-3.2-1b", "p150", batch=batch, prompt=prompt)
    band = band_of(plan)
    for low, high in (band.of_ttft(1.0), band.of_step(1.0), band.of_rate(1.0)):
        assert 0 < low < 1 < high
    assert band.of_rate(1.0) == pytest.approx([1 / end for end in reversed(band.of_step(1.0))])


@few
@given(st.integers(2, 6))
def test_the_further_out_the_wider(doublings: int) -> None:
    near = planned("llama-3.2-1b", "p150", prompt=1000)
    far = planned("llama-3.2-1b", "p150", prompt=1000 * 2**doublings)
    assert width(band_of(far)) > width(band_of(near))
    assert any("positions" in note and "times above" in note for note in band_of(far).notes)


def test_a_box_that_nobody_measured_is_said_to_be_one() -> None:
    usual = Deployment.of("llama-3.1-8b", "n300")
    scenario = Scenario.of(usual.box).but("dram.gb_per_s", 400)
    changed = plan_model(dataclasses.replace(usual, scenario=scenario))
    band = band_of(changed)
    assert band.notes == ("dram.gb_per_s is changed, and nobody measured such a box",)
    assert width(band) > width(band_of(planned()))


def test_bare_ops_have_no_rows_of_their_own() -> None:
    band = band_of(planned(stack="ttnn"))
    assert any("no measured decode of stack ttnn" in note for note in band.notes)


def test_the_command_says_the_band_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "llama-3.1-8b", "--box", "galaxy", "--no-ops"]) == 0
    out = capsys.readouterr().out
    assert "bands are wider than where it was measured:" in out
    assert "  chips 32 is 16 times above 2, the end of what was measured" in out
    assert main(["plan", "llama-3.1-8b", "--box", "galaxy", "--no-ops", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    for name in ("sim_ttft_s", "sim_step_s", "sim_tokens_per_s_per_user", "sim_tokens_per_s"):
        assert told[f"{name}_low"] < told[name] < told[f"{name}_high"]
    assert len(told["band_notes"]) >= 2


def test_a_point_of_a_sweep_has_the_bands_of_its_plan() -> None:
    found = evaluate({"model": "llama-3.1-8b", "box": "n300"})
    low, high = band_of(planned()).of_ttft(found["sim_ttft_ms"])
    assert (found["sim_ttft_ms_low"], found["sim_ttft_ms_high"]) == pytest.approx((low, high))
    assert found["sim_tokens_per_s_low"] < found["sim_tokens_per_s"]
