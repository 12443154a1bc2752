"""One property over every op of a chip: a plan tells what a run does, and the values are right."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.state import ChipState
from meshtwin.chip.tensor import Tensor

from .call import Array, Call, Calls, put, seen
from .ulps import bound, overflows


def every_call() -> Calls:
    """The calls of all families; a name stands in one family only."""
    calls: Calls = {}
    for path in sorted(Path(__file__).parent.joinpath("calls").glob("[a-z]*.py")):
        family: Calls = import_module(f".calls.{path.stem}", __package__).CALLS
        assert not calls.keys() & family.keys(), (path.stem, calls.keys() & family.keys())
        calls |= family
    return calls


CALLS = every_call()
OPS = {name for name in vars(Chip) if not name.startswith("_")} - set(vars(ChipState))


def test_every_op_of_a_chip_has_calls() -> None:
    assert set(CALLS) == OPS


@pytest.mark.parametrize("name", sorted(CALLS))
@settings(max_examples=50)
@given(st.data())
def test_a_plan_tells_what_a_run_does_and_the_values_are_right(
    name: str, data: st.DataObject
) -> None:
    call = data.draw(CALLS[name])
    run, plan = Chip.open("p300c"), Chip.open("p300c", plan=True)
    inputs = [put(run, given) for given in call.inputs]
    held = [seen(tensor) for tensor in inputs]
    outputs = as_tuple(call.run(run, inputs))
    planned_inputs = [put(plan, given) for given in call.inputs]
    planned = as_tuple(call.run(plan, planned_inputs))
    agree(run, outputs, plan, planned)
    with np.errstate(all="ignore"):
        check_values(call, outputs, held)


def agree(run: Chip, outputs: Sequence[Tensor], plan: Chip, planned: Sequence[Tensor]) -> None:
    """Value mode and plan mode did the same, but for the values."""
    assert [tensor.spec for tensor in outputs] == [tensor.spec for tensor in planned]
    for tensor in outputs:
        assert tensor.to_numpy().shape == tensor.shape
        assert tensor.storage is not None and tensor.storage.flags.c_contiguous
    assert all(tensor.storage is None for tensor in planned)
    assert run.clock.now_ps == plan.clock.now_ps
    assert run.dram.used_bytes == plan.dram.used_bytes
    assert run.dram.peak_bytes == plan.dram.peak_bytes
    assert run.recorder.records() == plan.recorder.records()


def check_values(call: Call, outputs: Sequence[Tensor], held: Sequence[Array]) -> None:
    """Each output is within the call's bounds of the expected one."""
    expected = call.expected(*held)
    for tensor, values in zip(
        outputs, expected if isinstance(expected, tuple) else (expected,), strict=True
    ):
        right = np.asarray(values)
        got = seen(tensor)
        assert got.shape == right.shape
        near = got == right
        if tensor.dtype.is_float:
            near |= np.isnan(got) & np.isnan(right)
            near |= np.abs(got - right) <= call.absolute + bound(right, tensor.dtype, call.ulps)
            near |= overflows(right, got, tensor.dtype)
        wrong = ~near
        assert not wrong.any(), (tensor, got[wrong][:5], right[wrong][:5], np.argwhere(wrong)[:5])


def as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One output or several, as several."""
    return (outputs,) if isinstance(outputs, Tensor) else outputs
