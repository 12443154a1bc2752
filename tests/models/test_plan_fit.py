"""What to change about a deployment that does not fit."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.mesh.scenario import Scenario
from meshtwin.models.model_plan import plan_model
from meshtwin.models.plan import Deployment
from meshtwin.models.plan_fit import Change, fits, nearest_fits, needed_memory


def found(deployment: Deployment) -> dict[Change, Deployment | None]:
    return {one.change: one.deployment for one in nearest_fits(deployment)}


def test_each_change_alone_is_as_small_as_will_do() -> None:
    whole = Deployment.of("llama-3.1-8b", "n150", batch=512)
    assert not fits(whole)
    changed = found(whole)
    assert set(changed) == {"tp", "precision", "batch"}
    assert changed["tp"] is None and changed["precision"] is None
    smaller = changed["batch"]
    assert smaller is not None and fits(smaller)
    assert not fits(dataclasses.replace(smaller, batch=smaller.batch + 1))


def test_more_chips_and_a_lower_precision_are_the_next_ones() -> None:
    wide = Deployment.of("llama-3.1-8b", "t3k", tp=1, dp=8, precision="bfloat16")
    changed = found(wide)
    more, lower = changed["tp"], changed["precision"]
    assert more is not None and (more.tp, more.dp, more.batch) == (2, 4, 8)
    assert lower is not None and lower.precision.name == "accuracy"
    assert changed["batch"] is None
    assert fits(more) and fits(lower)


def test_another_box_is_named_only_where_nothing_else_does() -> None:
    changed = found(Deployment.of("llama-3.1-70b", "p150"))
    assert [changed[change] for change in ("tp", "precision", "batch")] == [None] * 3
    box = changed["box"]
    assert box is not None and box.box.num_chips == box.tp == 2


def test_a_changed_box_is_left_for_others_as_they_are() -> None:
    plain = Deployment.of("llama-3.1-70b", "p150")
    scenario = Scenario.of(plain.box).but("dram.gib", 8).but("slow_chip", "0:0.5")
    changed = found(dataclasses.replace(plain, scenario=scenario))
    assert changed == found(plain)


def test_where_circular_buffers_clash_nothing_fits() -> None:
    plain = Deployment.of("llama-3.2-1b", "p150")
    small = dataclasses.replace(plain, scenario=Scenario.of(plain.box).but("l1.kib", 200))
    assert fits(plain) and not fits(small)


def test_what_would_be_needed_is_said_beside_what_there_is() -> None:
    plain = Deployment.of("llama-3.1-70b", "n150")
    memory = needed_memory(plain)
    assert memory.dram_capacity_bytes < 13e9 < 40e9 < memory.weight_bytes
    assert memory.cache_bytes > 0 and memory.activation_bytes > 0
    scenario = Scenario.of(plain.box).but("dram.gib", 4)
    of_less = needed_memory(dataclasses.replace(plain, scenario=scenario))
    assert of_less.dram_capacity_bytes == scenario.chip.dram_capacity_bytes < 4 << 30
    assert of_less == dataclasses.replace(memory, dram_capacity_bytes=of_less.dram_capacity_bytes)


@settings(max_examples=10, deadline=None)
@given(batch=st.integers(1, 64), tp=st.sampled_from([1, 2, 4]), length=st.integers(2, 2000))
def test_what_fits_needs_what_its_plan_takes(batch: int, tp: int, length: int) -> None:
    plain = Deployment.of("llama-3.2-1b", tp=tp, batch=batch, prompt=length, output=length)
    assert fits(plain)
    needed, planned = needed_memory(plain), plan_model(plain).memory
    assert needed == planned


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "accuracy", "performance"])
def test_lower_precisions_are_lower(precision: str) -> None:
    changed = found(Deployment.of("llama-3.1-70b", "quietbox2", tp=2, precision=precision, batch=1))
    lower = changed["precision"]
    if lower is not None:
        assert lower.precision.name != precision and fits(lower)
