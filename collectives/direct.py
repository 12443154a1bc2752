"""Executing a plan in shared memory: one compiled call moves and adds the tensors where they lie.

The order of each sum is read off the schedule (program.py), so the bits are those of the
step-by-step execution. Every chip sees every call before it uses a byte of another's data. See
direct.c for how the chips meet.
"""

import warnings
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np

from ..chip.dtype import DType
from ..fabric.errors import FabricHang, PeerAborted, RecvTimeout
from ..fabric.transport.window import Window
from .errors import CollectiveMismatch
from .execute import Entries
from .movement import Movement, movement_of
from .operation import Operation
from .plan import MOST_PLANS, Plan
from .program import Words
from .reduce_op import ReduceOp
from .request import Prepared
from .watch import Watch

try:
    from . import _direct

    COMPILED = True
except ImportError:
    warnings.warn(
        "meshtwin runs without its compiled collectives (meshtwin.collectives._direct): they go as "
        "messages, with the same values and simulated times, but much slower. Install gcc or "
        "clang, then reinstall meshtwin.",
        RuntimeWarning,
        stacklevel=2,
    )
    COMPILED = False

SMALL_BYTES = 1 << 14
"""Up to so many bytes of input each chip computes its whole result, without a second meeting."""
PATIENCE_S = 0.05
"""How long a chip waits before it looks for reasons not to."""
ROUNDING_S = 1e-6
MAX_TEXT_BYTES = 2000
PROVED = (FabricHang, CollectiveMismatch)
"""What the others see for themselves: whoever did not come to this call will come to none."""

Meet: TypeAlias = Callable[[int, float], Any]
"""Go on with a call from a phase, with so much patience."""

Calls: TypeAlias = list[tuple[str, str, str]]
"""What each chip of a group called: call, source line, number."""

DTYPE_CODES = {
    DType.FLOAT32: 0, DType.BFLOAT16: 1, DType.FLOAT16: 2, DType.INT32: 3, DType.UINT32: 4,
    DType.INT8: 5, DType.UINT8: 6,
    # only moved: as others of their size
    DType.TF32: 0, DType.INT16: 2, DType.UINT16: 2, DType.FP8_E4M3: 6,
    **{dtype: 6 for dtype in DType if dtype.block},
}  # fmt: skip
OP_CODES = {
    ReduceOp.SUM: 0, ReduceOp.MEAN: 0, ReduceOp.MIN: 1, ReduceOp.MAX: 2, ReduceOp.PROD: 3,
}  # fmt: skip
WIRE_CODES = {DType.BFLOAT16: 1, DType.FLOAT16: 2, DType.BFP8_B: 3, DType.BFP4_B: 4}


OUT_OF_REACH: Entries = ()
"""Instead of entry times: messages must do."""
NO_MOVEMENT = Movement((), (), (), ())


class Direct:
    """Executes plans through the window of one group of chips on one host."""

    def __init__(self, window: Window, timeout_s: float, watch: Watch) -> None:
        self.window, self.timeout_s, self.watch = window, timeout_s, watch
        self.group = _direct.Group(*window.layout())

    def run(
        self, prepared: Prepared, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words | None, Entries]:
        """The result, and the entry times by position (None: all entered at `sim_now_ps`).

        OUT_OF_REACH when a tensor is not in shared memory and too large for a slot, or when there
        is no compiled code for the call: then it is so for all chips of the group, and messages
        must do.

        Raises:
            CollectiveMismatch: another chip of the group made another call.
            RecvTimeout: a chip of the group did not come in time.
            PeerAborted: a chip gave up the run.
        """
        work = prepared.work or make_work(prepared)
        result = None
        if prepared.result is not None:
            result = np.empty(prepared.result.storage_shape, words.dtype)
        digest, plan = prepared.digest, prepared.plan
        calls: Calls = []
        try:
            answer: Any = self.group.run(
                work, digest, number, sim_now_ps, words, result, 0, PATIENCE_S
            )
            if answer is None:
                return result, None
            if answer.__class__ is not tuple:
                call = partial(self.group.run, work, digest, number, sim_now_ps, words, result)
                answer = self._go_on(plan, call, answer)
                if answer is None or answer == _direct.NOT_SHARED:
                    return result, None if answer is None else OUT_OF_REACH
                if answer == _direct.MISMATCH:
                    calls = self._all_calls(plan, number, prepared.line)
        except BaseException as error:  # out of step: no later call must take it for a meeting
            self.window.give_up(alone=isinstance(error, PROVED))
            raise
        if calls:
            raise _mismatch(plan, number, calls)
        return result, tuple([answer[index] for index in plan.index_of])

    def _go_on(self, plan: Plan, call: Meet, answer: Any) -> Any:
        """Deal with waits and aborts, until the call is done or cannot be."""
        waited_s, has_looked = PATIENCE_S, False
        while answer == _direct.STALLED:
            if waited_s >= self.timeout_s - ROUNDING_S:
                first = plan.call.ranks[self.group.missing]
                what = f"meeting {self.group.phase} of {plan.call.text}"
                raise RecvTimeout(plan.rank, first, self.timeout_s, what)
            if self.window.interrupt is not None:
                self.window.interrupt()
            missing = self.window.missing()
            if missing:
                self.watch.recorder.waits_for_frame(False)
                self.watch.look(missing)
                has_looked = True
            answer = call(self.group.phase, PATIENCE_S)
            waited_s += PATIENCE_S
        if answer == _direct.ABORTED:
            by, run_id = self.window.aborted_by()
            self.watch.aborted(self.window.missing(), by)
            raise PeerAborted(plan.rank, by, run_id)
        if has_looked:
            self.watch.over()
        return answer

    def _all_calls(self, plan: Plan, number: int, line: str) -> Calls:
        """All chips of the group see that calls differ, and meet again to say what each called."""
        window = self.window
        words = "\0".join((plan.call.text, line, str(number))).encode()[:MAX_TEXT_BYTES]
        own = window.buffer()
        own[: len(words) + 1] = np.frombuffer(words + b"\0", np.uint8)
        own[len(words)] = 1
        window.publish()
        window.wait_all(self.timeout_s)
        return [_said(bytes(slot[: MAX_TEXT_BYTES + 1])) for slot in window.slots()]


def _mismatch(plan: Plan, number: int, calls: Calls) -> CollectiveMismatch:
    ranks = plan.call.ranks
    others = (i for i, call in enumerate(calls) if call[::2] != calls[0][::2])
    other = next(others, len(calls) - 1)  # texts that differ beyond MAX_TEXT_BYTES
    return CollectiveMismatch(
        plan.rank, number, ranks[0], *calls[0][:2], ranks[other], *calls[other][:2]
    )


def _said(words: bytes) -> tuple[str, str, str]:
    """A chip's call, source line and number, up to the mark that ends them."""
    text = words[: words.index(1)].decode(errors="replace")
    call, line, number = (*text.split("\0"), "", "")[:3]
    return call, line, number


def make_work(prepared: Prepared) -> Any:
    """Make a plan ready for compiled code, and keep that in `prepared`."""
    plan = prepared.plan
    prepared.work = _work_of(plan)
    return prepared.work


@lru_cache(maxsize=MOST_PLANS)
def _work_of(plan: Plan) -> Any:
    """One for all calls of a plan."""
    if plan.call.operation is Operation.BARRIER:
        return _work(plan, NO_MOVEMENT, True)
    if goes_by_messages(plan):
        return _work(plan, NO_MOVEMENT, False, True)
    is_small = plan.most_input_bytes <= SMALL_BYTES
    return _work(plan, movement_of(plan), is_small)


def goes_by_messages(plan: Plan) -> bool:
    """Is there no compiled code for it? Then chips only compare their calls in shared memory.

    Block floats are moved by it, not added up; and rounded to, where no row ends within a block.
    """
    call = plan.call
    if call.dtype.block:
        return call.operation.reduces or call.rounds_on_wire
    return not plan.has_whole_units


def _work(plan: Plan, movement: Movement, is_small: bool, elsewhere: bool = False) -> Any:
    call, operation = plan.call, plan.call.operation
    own = plan.index_of[plan.position]
    wire = WIRE_CODES.get(call.wire, 0) if call.rounds_on_wire and call.wire else 0
    shares_input = operation not in (Operation.BROADCAST, Operation.SCATTER) or own == (
        call.ranks.index(call.root)
    )
    return _direct.Work(
        DTYPE_CODES[call.dtype],
        OP_CODES[call.op],
        wire,
        plan.num_ranks,
        [np.array(program, np.int16) for program in movement.programs],
        np.array(movement.all_runs, np.int64).reshape(-1, 7),
        np.array(movement.shared_runs, np.int64).reshape(-1, 7),
        movement.targets,
        0 if operation is Operation.BARRIER else plan.input_bytes,
        0 if operation is Operation.BARRIER else plan.output_bytes,
        is_small,
        shares_input,
        operation in (Operation.ALL_REDUCE, Operation.REDUCE) and not plan.ends_with_nothing,
        elsewhere,
    )
