"""One chip's end of the collectives: it plans a call, executes it, and moves the chip's clock."""

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from ..chip.chip import Chip
from ..chip.tensor import Tensor
from ..fabric.errors import FabricHang, PeerAborted, RecvTimeout
from ..fabric.faults import FaultPlan
from ..fabric.flight_recorder import FlightRecorder
from ..fabric.link import LinkCounters
from ..fabric.topology import Box
from ..fabric.transport.base import Transport
from ..fabric.transport.window import Window
from ..fabric.waits import Activity
from . import direct
from .costs import CollectiveCosts
from .direct import OUT_OF_REACH, Direct
from .errors import CollectiveError, CollectiveMismatch, CollectiveTimeout
from .execute import Entries, StepByStep
from .faulty import Faulty
from .group import Group, group_of
from .mailbox import Mailbox
from .plan import MOST_PLANS
from .point_to_point import PointToPoint, Traffic
from .program import Words, mean
from .reduce_op import ReduceOp
from .request import Prepared, Request, Seat, prepare
from .watch import RUN_BEGINS, RUN_MARK, Watch

STILL_WAITS = (FabricHang, CollectiveMismatch, PeerAborted)
"""Errors after which a chip still counts as waiting, or stalled, for the others' verdicts."""
NOTHING: Words = np.empty(0, np.int32)


class MeshTransport(Transport, Protocol):
    """A transport that may have windows into shared memory, and tells what its chip does."""

    @property
    def recorder(self) -> FlightRecorder:
        """What this chip does, for whoever wants to know."""

    def flights(self) -> Mapping[int, memoryview]:
        """The flight recorders of the chips that can be seen and are in this run, by rank."""

    def window(self, group: tuple[int, ...], channel: int) -> Window | None:
        """The group's slots on a channel; None when its chips do not share memory."""


class Communicator:
    """Carries out the collective calls of one chip, in the order in which they are made.

    Chips on one host meet in shared memory (`Direct`); any other group exchanges messages
    (`StepByStep`). Both add in the order of the schedule and report the same entry times, so the
    bits and the simulated times are the same. Without a transport (a box of one chip, or plan
    mode) all chips are taken to do what this one does: they come to a call as long after this chip,
    or before it, as they left the call before it.
    """

    def __init__(
        self,
        box: Box,
        rank: int,
        transport: MeshTransport | None,
        timeout_s: float,
        faults: FaultPlan | None = None,
        die: Callable[[], None] | None = None,
        costs: CollectiveCosts | None = None,
    ) -> None:
        """One chip's communicator.

        Args:
            timeout_s: wall time that a chip waits for the others in a call.
            faults: what goes wrong; then `transport` must be one of links (RoutedTransport).
            die: ends the chip's process, when the faults say so.
            costs: other than those of the box.
        """
        self.box, self.rank, self.costs = box, rank, costs
        self.transport, self.timeout_s = transport, timeout_s
        self._prepared: dict[Request, Prepared] = {}
        self._seats: dict[Group, Seat] = {}
        self._counters = LinkCounters()
        self._calls_made = 0
        self._behind_ps: dict[int, int] = {}  # in plan mode: each rank of the last call's group
        self._faulty: Faulty | None = None
        if transport is not None:
            self._recorder = transport.recorder
            self._watch = Watch(rank, transport.recorder, transport.flights)
            self._mailbox = Mailbox(transport, box.num_chips, self._watch, transport.recorder)
            if faults is not None:
                self._faulty = Faulty(box, rank, faults, self._stall, die or _cannot_die)
            self._step_by_step = StepByStep(self._mailbox, timeout_s, self._counters, self._faulty)
            self._point_to_point = PointToPoint(
                box,
                self._mailbox,
                transport.recorder,
                timeout_s,
                self._counters,
                self._faulty,
            )

    def begin_run(self) -> None:
        """Count calls from zero again: a new program starts on all chips."""
        for seat in self._seats.values():
            seat.calls_made = 0
        self._calls_made = 0
        if self.transport is not None:
            self._recorder.begin_run()
            self._recorder.enter(RUN_BEGINS, RUN_MARK)
            self._mailbox.begin_run()
            if self._faulty is not None:
                self._faulty.begin_run()
            self._point_to_point.begin_run()

    def end_run(self, error: BaseException | None = None) -> None:
        """The program of this run has ended on this chip, or raised.

        What waits for a chip whose program has ended waits in vain. A chip that raised aborts the
        run, which wakes the others; if it raised since it waited in vain, they see that it did.
        """
        if self.transport is None or isinstance(error, STILL_WAITS):
            return
        self._recorder.set_activity(Activity.ENDED if error is None else Activity.IDLE)

    @property
    def counters(self) -> LinkCounters:
        """Bytes and messages that this chip has sent over each link."""
        for prepared in self._prepared.values():
            self._count(prepared)
        return self._counters

    @property
    def traffic(self) -> Traffic:
        """What was sent and received point to point in this run."""
        return Traffic() if self.transport is None else self._point_to_point.traffic

    @property
    def point_to_point(self) -> PointToPoint:
        """Sends and receives.

        Raises:
            CollectiveError: in plan mode: a receiver knows the shape only from what comes.
        """
        if self.transport is None:
            raise CollectiveError(
                "send and recv need other chips, which plan mode does not have; a collective "
                "(broadcast, say) is planned without them"
            )
        return self._point_to_point

    def call(self, chip: Chip, request: Request, x: Tensor) -> Tensor | None:
        """Take part in one collective with `x`; the result, on this chip, if it gets one.

        Raises:
            CollectiveError: the call cannot be made (ChunkError, AlgorithmError, ...).
            CollectiveMismatch: another chip of the group made another call.
            CollectiveTimeout: a chip of the group did not come in time.
        """
        prepared = self._prepared.get(request) or self._prepare(request)
        chip.check_alive(prepared.name, x)
        spec = prepared.result
        result: Tensor | None = None
        if spec is None:
            self._run(chip, prepared, x.storage)
        else:
            allocation = chip.allocate(spec, prepared.name)
            result = Tensor(spec, self._run(chip, prepared, x.storage), allocation)
        if chip.watcher is not None:
            chip.watcher.communicated(request, x, result)
        return result

    def barrier(self, chip: Chip, request: Request) -> None:
        """Wait for every chip of the group; the clock moves to the end of the barrier."""
        prepared = self._prepared.get(request) or self._prepare(request)
        self._run(chip, prepared, None if chip.plan else NOTHING)

    def _prepare(self, request: Request) -> Prepared:
        if len(self._prepared) >= MOST_PLANS:
            for known in self._prepared.values():
                self._count(known)
            self._prepared.clear()
        group = group_of(self.box, self.rank, request.axis)
        seat = self._seats.get(group) or self._sit(group)
        prepared = self._prepared[request] = prepare(self.box, self.rank, request, seat, self.costs)
        return prepared

    def _sit(self, group: Group) -> Seat:
        """This chip's place in a group: in shared memory, if its chips share it."""
        found = None
        if self.transport is not None and group.channel is not None and direct.COMPILED:
            window = self.transport.window(group.ranks, group.channel)
            found = None if window is None else Direct(window, self.timeout_s, self._watch)
        seat = self._seats[group] = Seat(group, found)
        return seat

    def _count(self, prepared: Prepared) -> None:
        """Move what was carried out of a call into the counters."""
        count, prepared.count = prepared.count, 0
        if count:
            for (src, dst), (num_bytes, messages) in prepared.plan.traffic.items():
                self._counters.add(src, dst, count * num_bytes, count * messages)

    def _run(self, chip: Chip, prepared: Prepared, words: Words | None) -> Words | None:
        """Execute the plan, move the clock to its end, and note what it was."""
        clock = chip.clock
        sim_start_ps = clock.now_ps
        result: Words | None = None
        entries: Entries = None
        exit_ps: int | None = None
        if prepared.is_alone:
            result = words if words is None else _alone(prepared, words)
        elif words is not None:
            seat = prepared.seat
            number = seat.calls_made
            seat.calls_made = number + 1
            call_number = self._calls_made
            self._calls_made = call_number + 1
            self._recorder.enter(prepared.text, call_number, sim_start_ps)
            try:
                if seat.direct is not None:
                    result, entries = seat.direct.run(prepared, number, words, sim_start_ps)
                if seat.direct is None or entries is OUT_OF_REACH:
                    result, exit_ps = self._by_messages(prepared, number, words, sim_start_ps)
            except RecvTimeout as error:
                what = f"{prepared.plan.call.text} (number {number} of its group)"
                what = f"{what} at {prepared.line}"
                raise CollectiveTimeout(self.rank, what, error.src, error.waited_s) from error
        if exit_ps is not None:
            duration_ps = exit_ps - sim_start_ps
        elif words is None:
            duration_ps = self._planned_ps(prepared)
        elif entries is None:
            duration_ps = prepared.sim_together_ps
        else:
            duration_ps = max(0, prepared.plan.exit_ps(entries) - sim_start_ps)
        clock.now_ps = sim_start_ps + duration_ps
        if self._faulty is None and chip.recorder.enabled:
            prepared.count += 1
        facts = prepared.facts.get(duration_ps) or prepared.facts_of(duration_ps)
        chip.recorder.note(facts, sim_start_ps)
        return result

    def _planned_ps(self, prepared: Prepared) -> int:
        """What a call takes in plan mode; remembers how far the others of the group are behind."""
        plan, behind = prepared.plan, self._behind_ps
        exits = plan.exits_ps(tuple([behind.get(rank, 0) for rank in plan.order]))
        own = exits[plan.position]
        self._behind_ps = {
            rank: exit_ps - own for rank, exit_ps in zip(plan.order, exits, strict=True)
        }
        return own

    def _by_messages(
        self, prepared: Prepared, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words | None, int]:
        """The result, and when this chip is done."""
        if self._faulty is not None:
            sim_now_ps = self._faulty.enter(sim_now_ps)
        result, exit_ps = self._step_by_step.run(prepared, number, words, sim_now_ps)
        return result, max(exit_ps, sim_now_ps)

    def _stall(self) -> None:
        """Do nothing any more, until the run is over for the others."""
        self._recorder.set_activity(Activity.STALLED)
        self._mailbox.stall()


def _cannot_die() -> None:
    raise CollectiveError("a fault kills this chip, but it is not in a process of its own")


def _alone(prepared: Prepared, words: Words) -> Words:
    """The result of a collective of one chip."""
    call = prepared.plan.call
    if call.operation.reduces and call.op is ReduceOp.MEAN and not call.dtype.block:
        return mean(words, 1, call.dtype)
    return words.reshape(call.dtype.storage_shape(prepared.plan.result_shape)).copy()
