"""The state of one chip and the one way an op runs on it.

An op is three things kept together (`Op`): a rule (shapes and numbers in, a `Plan` out: what comes
out and what work it is), values (arrays in, arrays out) and a name. `ChipState.run` puts them to
use:

1. find the plan of these shapes: made once by the rule, then looked up;
2. take memory for the outputs;
3. compute the values, if every input has some (plan mode: none has, and nothing else changes);
   formats that the values do not take are unpacked before and packed after (`conversion.py`);
4. advance the clock by the planned duration, and record the op.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any, NoReturn, Self, final

import numpy as np
import numpy.typing as npt

from .chip_memory import ChipMemory
from .clock import Clock
from .conversion import COMPUTED, Native, converting
from .cost import DEFAULT_STACK, CostModel, Work
from .dtype import DType
from .errors import InvalidArgument, MeshtwinError, OpError
from .formats.rounding import Rounding
from .lane import LaneName, Lanes, Pending
from .memory.banks import Allocation, BankedMemory
from .memory.config import Buffer, MemoryConfig
from .memory.free_list import Holder
from .memory.written import Touch, poison
from .record import OpFacts, OpRecord, Recorder
from .spec import ChipSpec, load_product
from .tensor import Array, Layout, Shape, Tensor, TensorSpec, encode, tensor_spec
from .watcher import Scope, Watcher

Params = tuple[Hashable, ...]

MOST_PLANS = 65536  # plans remembered; a decode step adds a few, as its position is part of them

_spec_of = attrgetter("spec")


@final
@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a rule says of one call: the outputs, and the work that it takes.

    `circular_buffer_bytes` are those of every core's L1 while it runs; see memory/circular.
    """

    outputs: tuple[TensorSpec, ...]
    work: Work
    circular_buffer_bytes: int = 0


@final
@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """One op: its name, its rule and its values.

    `rule(*params, *specs)` gives a Plan or raises; `values(*params, *arrays)` the output array.
    With several outputs `values` gives a tuple; with none it writes into its first input and gives
    None. Arrays are float32, bfloat16 words, int32 or uint32, whatever the formats of the tensors:
    others are converted.

    Attributes:
        any_dtype: values move elements and do not look at them: they take every storage that has
            one item an element (all but block floats).
        native: the formats whose storage values take as it is; or such a set for each input, the
            last one for those beyond.
        touches: `touches(*params, *specs)` says which elements of each input it reads and writes;
            None: it reads all, writes none.
    """

    name: str
    rule: Callable[..., Plan]
    values: Callable[..., Any]
    any_dtype: bool = False
    native: Native = COMPUTED
    touches: Callable[..., tuple[Touch, ...]] | None = None


@final
class _Planned:
    """A plan with what this chip makes of it; `values` are the op's, with conversions if needed."""

    __slots__ = ("circular_bytes", "duration_ps", "facts", "outputs", "rooms", "values")

    def __init__(
        self,
        plan: Plan,
        duration_ps: int,
        facts: OpFacts,
        rooms: tuple[tuple[BankedMemory, Holder], ...],
        values: Callable[..., Any],
    ) -> None:
        self.outputs, self.circular_bytes = plan.outputs, plan.circular_buffer_bytes
        self.duration_ps, self.facts, self.rooms = duration_ps, facts, rooms
        self.values = values


class ChipState(ChipMemory):
    """One chip: its product, clock, DRAM and records.

    Args:
        spec: the product's chip.
        rank: its number in the mesh; errors carry it.
        plan: tensors made here have no values: shapes, time and memory only.
        checked: reads of elements that nothing wrote are errors (else they give NaN, or
            0xDEADBEEF).
        cost: how long ops take; None: bare ops (see `CostModel`).
    """

    def __init__(
        self,
        spec: ChipSpec,
        rank: int = 0,
        plan: bool = False,
        checked: bool = False,
        cost: CostModel | None = None,
    ) -> None:
        super().__init__(spec, rank, checked)
        self.plan = plan
        self.clock = Clock()
        self.lanes = Lanes(self.clock)
        self.recorder = Recorder()
        self.cost = cost or CostModel(spec)
        self.is_traced = True
        self.watcher: Watcher | None = None
        self.labels: list[str] = []  # of the scopes under way
        self._planned: dict[tuple[Hashable, ...], _Planned] = {}
        self._planned_otherwise: dict[tuple[Hashable, ...], _Planned] = {}  # traced, or not

    def run(self, op: Op, inputs: tuple[Tensor, ...], params: Params = ()) -> Tensor:
        """Run an op of one output.

        Raises:
            ShapeError, DTypeError, InvalidArgument: the rule, or the values, refuse the inputs.
            OutOfMemory: there is no room for the output.
            CircularBufferClash: tensors leave the op too little of L1.
            UseAfterFree, UninitializedRead: of an input.
            OpError: the values could not be computed.
        """
        if self._is_careful:
            self._look(op, inputs, params)
        planned = self._planned.get((op, params, *map(_spec_of, inputs)))
        if planned is None:
            planned = self._make_plan(op, inputs, params)
        (spec,) = planned.outputs
        ((memory, holder),) = planned.rooms
        allocation = Allocation(memory, holder)
        if planned.circular_bytes and self.l1.free_list.holders:
            self.check_circular(op.name, planned.circular_bytes)
        storage = None
        for tensor in inputs:
            if tensor.storage is None:
                break
        else:
            try:
                storage = planned.values(*params, *[tensor.storage for tensor in inputs])
                assert storage.shape == spec.storage_shape and storage.dtype == spec.dtype.numpy, (
                    spec
                )
                assert storage.flags.c_contiguous, spec
            except Exception as error:
                self._fail(op, error)
        clock = self.clock
        self.recorder.note(planned.facts, clock.now_ps)
        clock.now_ps += planned.duration_ps
        tensor = Tensor(spec, storage, allocation)
        if self.watcher is not None:
            self.watcher.ran(op, inputs, params, (tensor,))
        return tensor

    def run_many(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params = ()
    ) -> tuple[Tensor, ...]:
        """Run an op of any number of outputs; of none: it writes into an input. Raises as `run`."""
        if self._is_careful:
            self._look(op, inputs, params)
        planned = self._planned.get((op, params, *map(_spec_of, inputs)))
        if planned is None:
            planned = self._make_plan(op, inputs, params)
        held = [Allocation(memory, holder) for memory, holder in planned.rooms]
        if planned.circular_bytes and self.l1.free_list.holders:
            self.check_circular(op.name, planned.circular_bytes)
        storages: tuple[Array | None, ...] = (None,) * len(held)
        if all(tensor.storage is not None for tensor in inputs):
            try:
                found = planned.values(*params, *[tensor.storage for tensor in inputs])
                if found is not None:
                    storages = found if isinstance(found, tuple) else (found,)
            except Exception as error:
                self._fail(op, error)
        self.recorder.note(planned.facts, self.clock.now_ps)
        self.clock.now_ps += planned.duration_ps
        tensors = tuple(map(Tensor, planned.outputs, storages, held))
        if self.watcher is not None:
            self.watcher.ran(op, inputs, params, tensors)
        return tensors

    def scope(self, label: str) -> Scope:
        """Name what runs inside `with chip.scope("layer 7"):` for whoever watches the chip."""
        return Scope(self.labels, label)

    def beside(self, lane: LaneName = "fabric") -> AbstractContextManager[Pending]:
        """Run what is inside beside the ops that follow, on one of the chip's other engines.

        `with chip.beside() as pending: y = chip.all_gather(x)` starts a collective; the chip goes
        on at once, and `pending.wait()` before the first use of y waits for its end. On "dram"
        weights come in ahead: `w = chip.to_memory_config(w, MemoryConfig.L1)`. What one lane has
        under way runs one after the other.

        Raises:
            InvalidArgument: there is no such lane; the nearest one is named.
        """
        return self.lanes.beside(lane)

    @contextmanager
    def untraced(self) -> Iterator[None]:
        """Inside, the host dispatches each op by itself: none takes less than that."""
        if not self.is_traced:
            yield
            return
        self._trace(False)
        try:
            yield
        finally:
            self._trace(True)

    def _trace(self, is_traced: bool) -> None:
        self.is_traced = is_traced
        self._planned, self._planned_otherwise = self._planned_otherwise, self._planned

    def tensor(
        self,
        array: npt.ArrayLike,
        dtype: DType | str | None = None,
        layout: Layout | None = None,
        what: str = "tensor",
        copy: bool = True,
        memory: MemoryConfig = MemoryConfig.DRAM,
        rounding: Rounding | str = Rounding.NEAREST_EVEN,
    ) -> Tensor:
        """Put a numpy array on the chip (no simulated time passes: loading is not an op).

        Args:
            dtype: the format to encode to; None: see `DType.of`. A uint16 array with BFLOAT16 is
                taken as words, a uint8 array with FP8_E4M3 as codes.
            layout: None: tiles for floats, row-major for integers.
            what: the label that it holds memory under.
            copy: False: the tensor may use the array's memory, which must not change any more
                (weights from a file map).
            memory: where it lies.
            rounding: "nearest_even" as ttnn's host, or "packer" as a chip; "truncate": floats may
                become integers, as ttnn's host has it. See `Rounding`.
        Raises:
            DTypeError: the array does not fit the format.
            InvalidArgument: no such rounding of that format, or a block float not in tiles.
            ShapeError: its shards do not hold such a tensor.
            OutOfMemory: there is no room.
        """
        given = np.asarray(array)
        chosen = DType.of(given) if dtype is None else DType.parse(dtype)
        spec = tensor_spec(given.shape, chosen, layout, memory)
        Rounding.parse(rounding).check(chosen.is_float)
        if self.plan:
            return self.adopt(spec, None, what)
        storage = encode(given, chosen, rounding)
        if copy and np.may_share_memory(storage, given):
            storage = storage.copy()
        return self.adopt(spec, storage, what)

    def empty(
        self,
        shape: Iterable[int],
        dtype: DType | str = DType.BFLOAT16,
        layout: Layout | None = None,
        memory: MemoryConfig = MemoryConfig.DRAM,
        what: str = "tensor",
    ) -> Tensor:
        """A tensor that nobody has written: it reads as NaN, integers as 0xDEADBEEF.

        In plan mode it has no storage. In checked mode (see `open`) reading it is an error.
        """
        tensor = self.blank(tuple(shape), dtype, layout, memory, what)
        if tensor.storage is not None:
            poison(tensor.storage, tensor.dtype.is_float)
        if self._written is not None and tensor.allocation is not None:
            self._written.begin(tensor.allocation, tensor.shape)
        return tensor

    def blank(
        self,
        shape: Shape,
        dtype: DType | str,
        layout: Layout | None,
        memory: MemoryConfig,
        what: str,
    ) -> Tensor:
        """A tensor of zeros (no storage in plan mode), charged under the label `what`."""
        spec = tensor_spec(shape, DType.parse(dtype), layout, memory)
        tensor = self.adopt(spec, None, what)  # charged first: the host may not have the room
        if not self.plan:
            tensor.storage = np.zeros(spec.storage_shape, spec.dtype.numpy)
        return tensor

    def _look(self, op: Op, inputs: tuple[Tensor, ...], params: Params) -> None:
        """Raise UseAfterFree, or in checked mode UninitializedRead, for an input."""
        self.check_not_freed(op.name, inputs)
        if self._written is not None:
            touches: tuple[Touch, ...] = (Touch(),) * len(inputs)
            if op.touches is not None:
                touches = op.touches(*params, *[tensor.spec for tensor in inputs])
            self._written.touch(self.rank, op.name, inputs, touches)

    def _make_plan(self, op: Op, inputs: tuple[Tensor, ...], params: Params) -> _Planned:
        specs = [tensor.spec for tensor in inputs]
        try:
            plan = op.rule(*params, *specs)
            rooms = tuple(
                (memory, (nbytes, op.name)) for memory, nbytes in map(self.room, plan.outputs)
            )
            self.check_circular(op.name, plan.circular_buffer_bytes)
        except Exception as error:
            self._fail(op, error)
        work = _with_l1(plan.work, (*specs, *plan.outputs))
        cost = self.cost.duration(work, self.is_traced)
        record = OpRecord(
            name=op.name,
            input_shapes=tuple(spec.shape for spec in specs),
            output_shapes=tuple(spec.shape for spec in plan.outputs),
            dtypes=tuple(spec.dtype.label for spec in (*specs, *plan.outputs)),
            sim_start_ps=0,
            sim_duration_ps=cost.duration_ps,
            bytes=work.bytes,
            flops=work.flops,
            bound=cost.bound,
            num_cores=self.cost.cores(work),
            fidelity_phases=plan.work.fidelity_phases if plan.work.kind == "matmul" else 0,
        )
        values = converting(op.values, op.native, op.any_dtype, specs, plan.outputs)
        planned = _Planned(plan, cost.duration_ps, OpFacts(record, work), rooms, values)
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
    def open(
        cls,
        product: str,
        rank: int = 0,
        plan: bool = False,
        checked: bool = False,
        stack: str = DEFAULT_STACK,
    ) -> Self:
        """A chip of a product, by name: see `load_product`; for `stack`, see `CostModel`."""
        spec = load_product(product)
        return cls(spec, rank, plan, checked, CostModel(spec, stack))


def _with_l1(work: Work, specs: Iterable[TensorSpec]) -> Work:
    """The work with the bytes of those tensors counted that lie in L1."""
    in_l1 = sum(spec.padded_bytes for spec in specs if spec.memory.buffer is Buffer.L1)
    return replace(work, l1_bytes=min(in_l1, work.bytes)) if in_l1 else work
