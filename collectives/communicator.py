"""One chip's end of the collectives: it plans a call, executes it, and moves the chip's clock."""

from typing import TypeAlias

import numpy as np

from ..chip.chip import Chip
from ..chip.dtype import DType
from ..chip.record import OpFacts, OpRecord
from ..chip.tensor import Tensor, TensorSpec, tensor_spec
from ..fabric.errors import RecvTimeout
from ..fabric.link import LinkCounters
from ..fabric.topology import Box
from ..fabric.transport.pair import PairTransport
from .direct import Direct
from .errors import CollectiveError, CollectiveTimeout
from .execute import StepByStep
from .group import Group, group_of
from .plan import MOST_PLANS, Call, Plan, Words, make_plan
from .schedule import Operation

_Key: TypeAlias = tuple[Operation, TensorSpec, int | None, int, int]
NOTHING: Words = np.empty(0, np.int32)


class Communicator:
    """Carries out the collective calls of one chip, in the order in which they are made.

    Chips on one host meet in shared memory (`Direct`); a group that spans hosts exchanges messages
    (`StepByStep`). Both add in the order of the schedule and report the same entry times, so the
    bits and the simulated times are the same. Without a transport (a box of one chip, or plan
    mode) all chips are taken to arrive together.
    """

    def __init__(
        self, box: Box, rank: int, transport: PairTransport | None, timeout_s: float
    ) -> None:
        self.box, self.rank = box, rank
        self.transport, self.timeout_s = transport, timeout_s
        self.counters = LinkCounters()
        self._calls_made: dict[Group, int] = {}
        self._executors: dict[Group, Direct | StepByStep] = {}
        self._planned: dict[_Key, tuple[Plan, TensorSpec]] = {}
        self._facts: dict[tuple[Plan, int], OpFacts] = {}

    def begin_run(self) -> None:
        """Count calls from zero again: a new program starts on all chips."""
        self._calls_made.clear()

    def call(
        self,
        chip: Chip,
        operation: Operation,
        x: Tensor,
        axis: int | None,
        dim: int = 0,
        root: int = 0,
    ) -> Tensor:
        """Take part in one collective with `x`; the result, on this chip.

        Raises:
            ChunkError: `dim` does not exist or does not divide.
            CollectiveError: `root` is not in the group.
            CollectiveMismatch: another chip of the group made another call.
            CollectiveTimeout: a chip of the group did not come in time.
        """
        key = (operation, x.spec, axis, dim, root)
        planned = self._planned.get(key)
        if planned is None:
            if len(self._planned) >= MOST_PLANS:
                self._forget_plans()
            planned = self._planned[key] = self._plan(*key)
        plan, spec = planned
        result = chip.adopt(spec, None, operation.value)
        result.storage = self._run(chip, plan, x.storage, spec.shape)
        return result

    def _forget_plans(self) -> None:
        """Start over with what is remembered of calls, so that it never grows without end."""
        self._planned.clear()
        self._facts.clear()
        self._executors.clear()

    def barrier(self, chip: Chip, axis: int | None) -> None:
        """Wait for every chip of the group; the clock moves to the end of the barrier."""
        plan = make_plan(self.box, self.rank, Call(Operation.BARRIER, (0,), DType.INT32, axis))
        self._run(chip, plan, None if chip.plan else NOTHING, ())

    def _plan(
        self, operation: Operation, x: TensorSpec, axis: int | None, dim: int, root: int
    ) -> tuple[Plan, TensorSpec]:
        """The plan of a call and what its result is."""
        dim = dim + len(x.shape) if -len(x.shape) <= dim < 0 else dim
        if operation is Operation.BROADCAST:
            self._check_root(root, axis)
        plan = make_plan(self.box, self.rank, Call(operation, x.shape, x.dtype, axis, dim, root))
        return plan, tensor_spec(plan.result_shape, x.dtype, x.layout, x.memory)

    def _run(
        self, chip: Chip, plan: Plan, words: Words | None, result_shape: tuple[int, ...]
    ) -> Words | None:
        """Execute the plan, move the clock to its end, and note what it was."""
        sim_start_ps = chip.clock.now_ps
        if plan.is_trivial:
            result = words if words is None else words.reshape(result_shape or words.shape).copy()
            self._note(chip, plan, sim_start_ps)
            return result
        result = None
        entries = (sim_start_ps,) * len(plan.group.order)
        if words is not None:
            result, entries = self._execute(plan, words, sim_start_ps)
        chip.clock.wait_until(plan.exit_ps(entries))
        for (src, dst), (num_bytes, messages) in plan.traffic.items():
            self.counters.add(src, dst, num_bytes, messages)
        self._note(chip, plan, sim_start_ps)
        return result

    def _execute(self, plan: Plan, words: Words, sim_now_ps: int) -> tuple[Words, tuple[int, ...]]:
        """The result, and everybody's simulated entry time by position."""
        number = self._calls_made.get(plan.group, 0)
        self._calls_made[plan.group] = number + 1
        try:
            return self._executor(plan.group).run(plan, number, words, sim_now_ps)
        except RecvTimeout as error:
            raise CollectiveTimeout(
                self.rank, plan.call_text(number), error.src, error.waited_s
            ) from error

    def _executor(self, group: Group) -> Direct | StepByStep:
        """Shared memory where all chips of the group are on this host, else messages."""
        executor = self._executors.get(group)
        if executor is None:
            assert self.transport is not None, "a mesh of several chips has a transport"
            window = self.transport.window(group.ranks, group.channel)
            if window is not None:
                executor = Direct(window, self.timeout_s)
            else:
                executor = StepByStep(self.transport, self.timeout_s)
            self._executors[group] = executor
        return executor

    def _note(self, chip: Chip, plan: Plan, sim_start_ps: int) -> None:
        key = (plan, chip.clock.now_ps - sim_start_ps)
        facts = self._facts.get(key)
        if facts is None:
            facts = self._facts[key] = OpFacts(_record(*key))
        chip.recorder.note(facts, sim_start_ps)

    def _check_root(self, root: int, axis: int | None) -> None:
        ranks = group_of(self.box, self.rank, axis).ranks
        if root not in ranks:
            raise CollectiveError(
                f"broadcast: chip {root} is not in the group of chip {self.rank}; "
                f"legal roots are {', '.join(map(str, ranks))}"
            )


def _record(plan: Plan, sim_duration_ps: int) -> OpRecord:
    """What is recorded of a collective, but for its start."""
    return OpRecord(
        name=plan.call.operation.value,
        input_shapes=(plan.call.shape,),
        output_shapes=(plan.result_shape,),
        dtypes=(plan.call.dtype.label,) * 2,
        sim_start_ps=0,
        sim_duration_ps=sim_duration_ps,
        bytes=plan.bytes_sent,
        flops=0,
        bound="fabric",
    )
