"""One chip's end of the collectives: it plans a call, executes it, and moves the chip's clock."""

import numpy as np

from ..chip.chip import Chip
from ..chip.tensor import Tensor
from ..fabric.errors import RecvTimeout
from ..fabric.link import LinkCounters
from ..fabric.topology import Box
from ..fabric.transport.base import Transport
from .errors import CollectiveTimeout
from .execute import StepByStep
from .group import Group
from .mailbox import Mailbox
from .plan import MOST_PLANS
from .point_to_point import PointToPoint
from .program import Words, mean
from .reduce_op import ReduceOp
from .request import Prepared, Request, prepare

NOTHING: Words = np.empty(0, np.int32)


class Communicator:
    """Carries out the collective calls of one chip, in the order in which they are made.

    Without a transport (a box of one chip, or plan mode) all chips are taken to arrive together.
    """

    def __init__(self, box: Box, rank: int, transport: Transport | None, timeout_s: float) -> None:
        self.box, self.rank = box, rank
        self.transport, self.timeout_s = transport, timeout_s
        self._calls_made: dict[Group, int] = {}
        self._prepared: dict[Request, Prepared] = {}
        self._counters = LinkCounters()
        if transport is not None:
            self._mailbox = Mailbox(transport)
            self._executor = StepByStep(self._mailbox, timeout_s)
            self.point_to_point = PointToPoint(box, self._mailbox, timeout_s, self._counters)

    def begin_run(self) -> None:
        """Count calls from zero again: a new program starts on all chips."""
        self._calls_made.clear()
        if self.transport is not None:
            self._mailbox.begin_run()
            self.point_to_point.begin_run()

    @property
    def counters(self) -> LinkCounters:
        """Bytes and messages that this chip has sent over each link."""
        for prepared in self._prepared.values():
            self._count(prepared)
        return self._counters

    def call(self, chip: Chip, request: Request, x: Tensor) -> Tensor | None:
        """Take part in one collective with `x`; the result, on this chip, if it gets one.

        Raises:
            CollectiveError: the call cannot be made (ChunkError, AlgorithmError, ...).
            CollectiveMismatch: another chip of the group made another call.
            CollectiveTimeout: a chip of the group did not come in time.
        """
        prepared = self._find(request)
        spec = prepared.result
        result = None if spec is None else chip.adopt(spec, None, request.operation.label)
        words = self._run(chip, prepared, x.storage)
        if result is not None and words is not None:
            result.storage = words.reshape(result.shape)
        return result

    def barrier(self, chip: Chip, request: Request) -> None:
        """Wait for every chip of the group; the clock moves to the end of the barrier."""
        self._run(chip, self._find(request), None if chip.plan else NOTHING)

    def _find(self, request: Request) -> Prepared:
        prepared = self._prepared.get(request)
        if prepared is None:
            if len(self._prepared) >= MOST_PLANS:
                for known in self._prepared.values():
                    self._count(known)
                self._prepared.clear()
            prepared = self._prepared[request] = prepare(self.box, self.rank, request)
        return prepared

    def _count(self, prepared: Prepared) -> None:
        """Move what was carried out of a call into the counters."""
        count, prepared.count = prepared.count, 0
        if count:
            for (src, dst), (num_bytes, messages) in prepared.plan.traffic.items():
                self._counters.add(src, dst, count * num_bytes, count * messages)

    def _run(self, chip: Chip, prepared: Prepared, words: Words | None) -> Words | None:
        """Execute the plan, move the clock to its end, and note what it was."""
        plan, clock = prepared.plan, chip.clock
        sim_start_ps = clock.now_ps
        if plan.num_ranks == 1:
            result = words if words is None else _alone(prepared, words)
        elif words is None:
            result = None
            clock.now_ps += plan.sim_together_ps
        else:
            result, entries = self._execute(prepared, words, sim_start_ps)
            clock.wait_until(plan.exit_ps(entries))
        prepared.count += 1
        chip.recorder.note(prepared.facts_of(clock.now_ps - sim_start_ps), sim_start_ps)
        return result

    def _execute(
        self, prepared: Prepared, words: Words, sim_now_ps: int
    ) -> tuple[Words | None, tuple[int, ...]]:
        """The result, and everybody's simulated entry time by position."""
        number = self._calls_made.get(prepared.group, 0)
        self._calls_made[prepared.group] = number + 1
        plan = prepared.plan
        try:
            return self._executor.run(plan, number, prepared.line, words, sim_now_ps)
        except RecvTimeout as error:
            what = f"{plan.call.text} (number {number} of its group) at {prepared.line}"
            raise CollectiveTimeout(self.rank, what, error.src, error.waited_s) from error


def _alone(prepared: Prepared, words: Words) -> Words:
    """The result of a collective of one chip."""
    call = prepared.plan.call
    if call.operation.reduces and call.op is ReduceOp.MEAN:
        return mean(words, 1, call.dtype)
    return words.copy()
