"""The state of one chip and the one way an op runs on it.

An op is three things kept together (`Op`): a rule (shapes and numbers in, a `Plan` out: what comes
out and what work it is), values (arrays in, arrays out) and a name. `ChipState.run` puts them to
use:

1. find the plan of these shapes: made once by the rule, then looked up;
2. charge DRAM for the outputs;
3. compute the values, if every input has some (plan mode: none has, and nothing else changes);
4. advance the clock by the planned duration, and record the op.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, NoReturn, Self, final

import numpy as np
import numpy.typing as npt

from .clock import Clock
from .cost import CostModel, Work
from .dtype import DType
from .errors import DTypeError, InvalidArgument, MeshtwinError, OpError
from .memory import DramLedger
from .record import OpFacts, OpRecord, Recorder
from .spec import ChipSpec, load_product
from .tensor import Array, Layout, Memory, Tensor, TensorSpec, encode, tensor_spec

Params = tuple[Hashable, ...]

MOST_PLANS = 65536  # plans remembered; a decode step adds a few, as its position is part of them

_spec_of = attrgetter("spec")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a rule says of one call: the outputs, and the work that it takes."""

    outputs: tuple[TensorSpec, ...]
    work: Work


@final
@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One op: its name, its rule and its values.

    `rule(*params, *specs)` gives a Plan or raises; `values(*params, *arrays)` the output array.
    With several outputs `values` gives a tuple; with none it writes into an input and gives None.
    `any_dtype` says that it takes formats that chips do not compute with.
    """

    name: str
    rule: Callable[..., Plan]
    values: Callable[..., Any]
    any_dtype: bool = False


@final
class _Planned:
    """A plan with what this chip makes of it."""

    __slots__ = ("duration_ps", "facts", "outputs")

    def __init__(self, outputs: tuple[TensorSpec, ...], duration_ps: int, facts: OpFacts) -> None:
        self.outputs, self.duration_ps, self.facts = outputs, duration_ps, facts


class ChipState:
    """One chip: its product, clock, DRAM and records.

    Args:
        spec: the product's chip.
        rank: its number in the mesh; errors carry it.
        plan: tensors made here have no values: shapes, time and memory only.
    """

    def __init__(self, spec: ChipSpec, rank: int = 0, plan: bool = False) -> None:
        self.spec = spec
        self.rank = rank
        self.plan = plan
        self.clock = Clock()
        self.dram = DramLedger(spec.dram_capacity_bytes, rank)
        self.recorder = Recorder()
        self.cost = CostModel(spec)
        self._planned: dict[tuple[Hashable, ...], _Planned] = {}

    def run(self, op: Op, inputs: tuple[Tensor, ...], params: Params = ()) -> Tensor:
        """Run an op of one output.

        Raises:
            ShapeError, DTypeError, InvalidArgument: the rule, or the values, refuse the inputs.
            OutOfMemory: DRAM has no room for the output.
            OpError: the values could not be computed.
        """
        planned = self._planned.get((op, params, *map(_spec_of, inputs)))
        if planned is None:
            planned = self._make_plan(op, inputs, params)
        (spec,) = planned.outputs
        allocation = self.dram.allocate(spec.padded_bytes, op.name)
        storage = None
        for tensor in inputs:
            if tensor.storage is None:
                break
        else:
            try:
                storage = op.values(*params, *[tensor.storage for tensor in inputs])
                assert storage.shape == spec.shape and storage.dtype == spec.dtype.numpy, spec
                assert storage.flags.c_contiguous, spec
            except Exception as error:
                self._fail(op, error)
        clock = self.clock
        self.recorder.note(planned.facts, clock.now_ps)
        clock.now_ps += planned.duration_ps
        return Tensor(spec, storage, allocation)

    def run_many(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params = ()
    ) -> tuple[Tensor, ...]:
        """Run an op of several outputs, or of none (it writes into an input). Raises as `run`."""
        planned = self._planned.get((op, params, *map(_spec_of, inputs)))
        if planned is None:
            planned = self._make_plan(op, inputs, params)
        held = [self.dram.allocate(spec.padded_bytes, op.name) for spec in planned.outputs]
        storages: tuple[Array | None, ...] = (None,) * len(held)
        if all(tensor.storage is not None for tensor in inputs):
            try:
                storages = op.values(*params, *[tensor.storage for tensor in inputs]) or ()
            except Exception as error:
                self._fail(op, error)
        self.recorder.note(planned.facts, self.clock.now_ps)
        self.clock.now_ps += planned.duration_ps
        return tuple(map(Tensor, planned.outputs, storages, held))

    def tensor(
        self,
        array: npt.ArrayLike,
        dtype: DType | str | None = None,
        layout: Layout | None = None,
        what: str = "tensor",
        copy: bool = True,
    ) -> Tensor:
        """Put a numpy array on the chip (no simulated time passes: loading is not an op).

        Args:
            dtype: the format to encode to; None: float32 for floats, int32 for integers. A uint16
                array with BFLOAT16 is taken as words.
            layout: None: tiles for floats, row-major for integers.
            what: the label that DRAM is charged under.
            copy: False: the tensor may use the array's memory, which must not change any more
                (weights from a file map).
        Raises:
            DTypeError: the array does not fit the format.
            OutOfMemory: DRAM has no room.
        """
        given = np.asarray(array)
        chosen = DType.of(given) if dtype is None else DType.parse(dtype)
        spec = tensor_spec(given.shape, chosen, layout)
        if self.plan:
            return self.adopt(spec, None, what)
        storage = encode(given, chosen)
        if copy and np.may_share_memory(storage, given):
            storage = storage.copy()
        return self.adopt(spec, storage, what)

    def empty(
        self,
        shape: Iterable[int],
        dtype: DType | str = DType.BFLOAT16,
        layout: Layout | None = None,
        memory: Memory = Memory.DRAM,
        what: str = "tensor",
    ) -> Tensor:
        """A tensor of zeros (on silicon they would be undefined); no storage in plan mode."""
        spec = tensor_spec(tuple(shape), DType.parse(dtype), layout, memory)
        tensor = self.adopt(spec, None, what)  # charged first: the host may not have the room
        if not self.plan:
            tensor.storage = np.zeros(spec.shape, spec.dtype.numpy)
        return tensor

    def adopt(self, spec: TensorSpec, storage: Array | None, what: str) -> Tensor:
        """A tensor of this very storage, charged to DRAM: what a collective received, say."""
        return Tensor(spec, storage, self.dram.allocate(spec.padded_bytes, what))

    def _make_plan(self, op: Op, inputs: tuple[Tensor, ...], params: Params) -> _Planned:
        specs = [tensor.spec for tensor in inputs]
        try:
            _check_dtypes(op, specs)
            plan = op.rule(*params, *specs)
        except Exception as error:
            self._fail(op, error)
        cost = self.cost.duration(plan.work)
        record = OpRecord(
            name=op.name,
            input_shapes=tuple(spec.shape for spec in specs),
            output_shapes=tuple(spec.shape for spec in plan.outputs),
            dtypes=tuple(spec.dtype.label for spec in (*specs, *plan.outputs)),
            sim_start_ps=0,
            sim_duration_ps=cost.duration_ps,
            bytes=plan.work.bytes,
            flops=plan.work.flops,
            bound=cost.bound,
            num_cores=max(1, min(self.spec.num_cores, plan.work.num_parallel)),
            fidelity_phases=plan.work.fidelity_phases if plan.work.kind == "matmul" else 0,
        )
        planned = _Planned(plan.outputs, cost.duration_ps, OpFacts(record))
        if len(self._planned) >= MOST_PLANS:
            self._planned.clear()
        self._planned[op, params, *specs] = planned
        return planned

    def _fail(self, op: Op, error: Exception) -> NoReturn:
        """Raise what went wrong in an op, with its place."""
        if isinstance(error, InvalidArgument):
            raise error.at(op.name, self.rank) from error.__cause__
        if isinstance(error, MeshtwinError):
            raise error
        raise OpError(self.rank, op.name, f"{type(error).__name__}: {error}") from error

    @classmethod
    def open(cls, product: str, rank: int = 0, plan: bool = False) -> Self:
        """A chip of a product, by name: see `load_product`."""
        return cls(load_product(product), rank, plan)


def _check_dtypes(op: Op, specs: list[TensorSpec]) -> None:
    for spec in specs:
        if not (spec.dtype.computes or op.any_dtype):
            raise DTypeError(
                f"{spec.dtype} is not computed with: typecast it to float32, bfloat16, int32 or "
                "uint32 first"
            )
