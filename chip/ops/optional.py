"""Ops of which some inputs may be missing."""

from ..state import ChipState, Op, Params
from ..tensor import Tensor

Roles = tuple[str, ...]  # which inputs of a call were given, by name, in order


def run_given(chip: ChipState, op: Op, params: Params, **inputs: Tensor | None) -> Tensor:
    """Run an op on the inputs that are not None; their roles are its last parameter."""
    given = {role: tensor for role, tensor in inputs.items() if tensor is not None}
    return chip.run(op, tuple(given.values()), (*params, tuple(given)))


def change_given(chip: ChipState, op: Op, params: Params, **inputs: Tensor | None) -> None:
    """The same for an op that writes into an input."""
    given = {role: tensor for role, tensor in inputs.items() if tensor is not None}
    chip.run_many(op, tuple(given.values()), (*params, tuple(given)))
