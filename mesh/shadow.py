"""A float32 shadow of everything a chip computes: where number formats lose accuracy.

Every op is computed again in float32 from the shadows of its inputs, on a chip beside the chip
that has a clock, records and DRAM of its own; collectives of shadows are carried out among the
chips, too. What came from outside (weights, what `recv` received) starts as its real values, and
integers are those of the real run, so that one changed decision does not drown everything after it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from ..chip.compute_config import EXACT, ComputeConfig
from ..chip.dtype import DType
from ..chip.errors import MeshtwinError
from ..chip.figures import Figures, figures
from ..chip.state import Op, Params
from ..chip.tensor import Array, Tensor, tensor_spec
from ..collectives.request import Request
from .comparison import InputRow
from .program import MeshChip
from .watching import Marks, Watching

ROOM = 1024
"""How many times the chip's DRAM the chip beside it has: shadows never run out of it."""


@dataclass(frozen=True, slots=True)
class Shadow:
    """The float32 array that follows a tensor, in the tensor's order of elements."""

    values: Array


class ShadowWatcher(Watching):
    """Carries the shadows of one chip along."""

    def __init__(self, chip: MeshChip) -> None:
        super().__init__(chip)
        roomy = replace(chip.spec, dram_bank_bytes=chip.spec.dram_bank_bytes * ROOM)
        self.beside = MeshChip(roomy, chip.rank)
        self.beside.recorder.enabled = False
        self.shadows: Marks[Shadow] = Marks()

    def ran(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params, outputs: tuple[Tensor, ...]
    ) -> None:
        """Compute the op again, and compare."""
        self.next_op()
        seen = self.inputs_of(inputs)
        shadows = tuple(self._shadow(tensor) for tensor in inputs)
        if not outputs:
            (expected,) = self._written(op, shadows, params, inputs)
            self._compare(op.name, inputs[0], expected, 0, seen)
            return
        drifted = self._again(op, shadows, params, inputs)
        if any(self.shadows.has(tensor) for tensor in inputs):
            by_itself = self._again(op, tuple(map(_exact_tensor, inputs)), params, inputs)
        else:
            by_itself = drifted  # all inputs are from outside: their shadows are themselves
        for index, tensor in enumerate(outputs):
            own = figures(tensor.to_numpy(), by_itself[index].to_numpy(), tensor.dtype)
            self._compare(op.name, tensor, drifted[index], index, seen, own=own)

    def communicated(self, request: Request, x: Tensor, result: Tensor | None) -> None:
        """Carry the shadows out too, and compare."""
        self.next_op()
        if not x.dtype.is_float:
            expected = result
        else:
            shadow = self._shadow(x)
            again = request._replace(spec=shadow.spec, algorithm="auto", wire_dtype=None)
            expected = self.chip.communicator.call(self.beside, again, shadow)
        if result is not None and expected is not None:
            name = request.operation.label
            self._compare(name, result, expected, 0, self.inputs_of((x,)), is_collective=True)

    def _compare(
        self,
        op: str,
        tensor: Tensor,
        shadow: Tensor,
        index: int,
        seen: tuple[InputRow, ...],
        is_collective: bool = False,
        own: Figures | None = None,
    ) -> None:
        expected = shadow.to_numpy()
        result = figures(tensor.to_numpy(), expected, tensor.dtype)
        self.note(op, tensor, result, seen, index, is_collective, own=own)
        if tensor.dtype.is_float:
            self.shadows.put(tensor, Shadow(expected))

    def _shadow(self, tensor: Tensor) -> Tensor:
        """The float32 tensor that stands for a real one; integers stand for themselves."""
        known = self.shadows.get(tensor) if tensor.dtype.is_float else None
        if known is None:
            return _exact_tensor(tensor)
        return _float32(known.values.reshape(tensor.shape), tensor)

    def _again(
        self,
        op: Op,
        shadows: tuple[Tensor, ...],
        params: Params,
        inputs: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """The op's outputs in float32; an op that takes no float32 has its own formats."""
        try:
            return self.beside.run_many(op, shadows, _exact(params))
        except MeshtwinError:
            return self.beside.run_many(op, self._in_own_formats(shadows, inputs), params)

    def _written(
        self, op: Op, shadows: tuple[Tensor, ...], params: Params, inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        """The first input after an op that writes into it."""
        target, *rest = shadows
        assert target.storage is not None
        first = Tensor(target.spec, np.copy(target.storage), None)
        try:
            self.beside.run_many(op, (first, *rest), _exact(params))
        except MeshtwinError:
            own = self._in_own_formats(shadows, inputs)
            self.beside.run_many(op, own, params)
            first = own[0]
        return (first,)

    def _in_own_formats(
        self, shadows: tuple[Tensor, ...], inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        return tuple(
            self.beside.tensor(shadow.to_numpy(), tensor.dtype, tensor.layout)
            for shadow, tensor in zip(shadows, inputs, strict=True)
        )


def _exact_tensor(tensor: Tensor) -> Tensor:
    """The real values in float32; integers as they are."""
    if not tensor.dtype.is_float:
        return Tensor(tensor.spec, tensor.storage, None)
    return _float32(tensor.to_numpy(), tensor)


def _float32(values: Array, like: Tensor) -> Tensor:
    return Tensor(tensor_spec(like.shape, DType.FLOAT32, like.layout), values, None)


def _exact(params: Params) -> Params:
    """An op's parameters with float32 for every float format, and exact sums for every config."""
    return tuple(map(_exact_param, params))


def _exact_param(param: Hashable) -> Hashable:
    if isinstance(param, ComputeConfig):
        return EXACT
    return DType.FLOAT32 if isinstance(param, DType) and param.is_float else param
