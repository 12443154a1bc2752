"""Executing a schedule step by step: chunks travel as messages, over any transport."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from ..fabric.errors import FabricHang, LinkDown, PeerAborted, RecvTimeout
from ..fabric.link import LinkCounters
from .blocks import put_units, units_of
from .errors import CollectiveMismatch
from .faulty import Faulty, Passage
from .mailbox import Mailbox
from .operation import Operation
from .plan import MOST_PLANS, Plan
from .program import ROUND, Words, combine, final_codes, from_wire, mean, round_to_wire, to_wire
from .request import Prepared
from .schedule import Step, StepKind

CALL, CALLS, CHUNKS, SEEN = "call", "calls", "chunks", "seen"
"""What a frame carries: one chip's call, those of all of a group, chunks of a round, a nod."""
TOGETHER_S = 1.0
"""How long a chip that knows of an error waits for the others to know of it too."""
Chunks: TypeAlias = dict[int, Words]
Entries: TypeAlias = tuple[int, ...] | None
"""Simulated entry times by position; None: all alike."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one position does in a round: send to each in turn, then receive, then apply."""

    sends: tuple[tuple[int, tuple[int, ...]], ...]  # dst, chunks
    receives: tuple[tuple[int, tuple[int, ...]], ...]  # src, chunks
    steps: tuple[Step, ...]  # what arrives, in the order of the round


class CallOf(NamedTuple):
    """What one chip called: text, source line, when (simulated), after how many messages."""

    text: str
    line: str
    sim_entry_ps: int
    num_sent: int


class StepByStep:
    """The reference executor. It works between hosts, and whatever the topology.

    First the chips agree: each tells the group's first chip what it called and when (simulated),
    and gets everybody's answer back. Then the rounds of the schedule follow; the chunks that one
    chip sends another in a round, to be copied or to be added, are one message.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        timeout_s: float,
        counters: LinkCounters,
        faulty: Faulty | None = None,
    ) -> None:
        self.mailbox, self.timeout_s, self.faulty = mailbox, timeout_s, faulty
        self.counters = counters  # of what goes otherwise than planned, under faults

    def run(
        self, prepared: Prepared, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words | None, int]:
        """The result of the collective, and when this chip is done (simulated ps).

        Args:
            number: of the call in its group in this run.
            words: the chip's input in storage format.
        Raises:
            CollectiveMismatch: another chip of the group made another call.
            LinkDown: a plan of faults has cut a link that is needed.
            RecvTimeout: a chip of the group did not come in time.
        """
        plan, faulty = prepared.plan, self.faulty
        tag = f"{','.join(map(str, plan.call.ranks))}#{number}"
        calls = self._agree(plan, tag, number, prepared.line, sim_now_ps)
        passages: Iterator[Passage | None] = repeat(None)
        if faulty is None:
            exit_ps = plan.exit_ps(tuple(calls[chip].sim_entry_ps for chip in plan.order))
        else:
            last_ps = max(call.sim_entry_ps for call in calls.values())
            try:
                plan = faulty.plan(plan, prepared.algorithm, last_ps)
                in_order = [calls[chip] for chip in plan.order]
                timing = faulty.timing(
                    plan,
                    tuple(call.sim_entry_ps for call in in_order),
                    tuple(call.num_sent for call in in_order),
                )
            except LinkDown as error:
                raise self._together(plan, tag, error) from None
            exit_ps = timing.sim_exit_ps[plan.position]
            passages = iter(faulty.passages(plan, timing))
            for (src, dst), (num_bytes, messages) in timing.traffic[plan.position].items():
                self.counters.add(src, dst, num_bytes, messages)
        if plan.call.operation is Operation.BARRIER:
            return None, exit_ps
        chunks = self._rounds(plan, tag, _own_chunks(plan, words), passages)
        return _result(plan, chunks), exit_ps

    def _agree(
        self, plan: Plan, tag: str, number: int, line: str, sim_now_ps: int
    ) -> dict[int, CallOf]:
        """What everybody called, after a check that it is the same."""
        mail, ranks = self.mailbox, plan.call.ranks
        num_sent = 0 if self.faulty is None else self.faulty.num_sent
        leader, own = ranks[0], CallOf(plan.call.text, line, sim_now_ps, num_sent)
        calls = {mail.rank: own}
        if mail.rank == leader:
            for src in ranks[1:]:
                calls[src] = CallOf(*self._receive(src, CALL, tag))
            for dst in ranks[1:]:
                fields: dict[str, object] = {"calls": [[chip, *calls[chip]] for chip in ranks]}
                mail.send(dst, CALLS, tag, 0, fields)
        else:
            mail.send(leader, CALL, tag, 0, {"calls": own})
            answer = self._receive(leader, CALLS, tag)
            calls = {chip: CallOf(*call) for chip, *call in answer}
        for other in ranks:
            if calls[other].text != calls[leader].text:
                raise self._together(
                    plan,
                    tag,
                    CollectiveMismatch(
                        mail.rank, number, leader, *calls[leader][:2], other, *calls[other][:2]
                    ),
                )
        return calls

    def _together(self, plan: Plan, tag: str, error: Exception) -> Exception:
        """The error, once every chip of the group has come to it as well.

        Whoever raises ends the run for all, so nobody does before the others have seen for
        themselves what is wrong.
        """
        mail, ranks = self.mailbox, plan.call.ranks
        with suppress(RecvTimeout, PeerAborted, FabricHang, CollectiveMismatch):
            if mail.rank == ranks[0]:
                for src in ranks[1:]:
                    mail.receive(src, SEEN, tag, 0, TOGETHER_S)
                for dst in ranks[1:]:
                    mail.send(dst, SEEN, tag, 0, {})
            else:
                mail.send(ranks[0], SEEN, tag, 0, {})
                mail.receive(ranks[0], SEEN, tag, 0, TOGETHER_S)
        return error

    def _rounds(
        self, plan: Plan, tag: str, chunks: Chunks, passages: Iterator[Passage | None]
    ) -> Chunks:
        """Carry out the rounds; what the chip holds then."""
        call, kind = plan.call, (plan.call.wire if plan.call.rounds_on_wire else plan.call.dtype)
        assert kind is not None
        for number, turn in enumerate(turns(plan)):
            for dst, sent in turn.sends:
                passage = next(passages)  # one for each message: both follow the schedule
                wire = [to_wire(chunks[chunk], call) for chunk in sent]
                whole = wire[0] if len(wire) == 1 else np.concatenate(wire)
                self.mailbox.send(plan.order[dst], CHUNKS, tag, number, {}, whole, passage)
            came: dict[tuple[int, int], Words] = {}
            for src, wanted in turn.receives:
                _, payload = self.mailbox.receive(
                    plan.order[src], CHUNKS, tag, number, self.timeout_s
                )
                whole, start = np.frombuffer(payload, kind.numpy), 0
                if call.unit > 1:
                    whole = whole.reshape(-1, *kind.storage_shape((call.unit,)))
                for chunk in wanted:
                    end = start + plan.chunk_items[chunk]
                    came[src, chunk] = from_wire(whole[start:end], call)
                    start = end
            for step in turn.steps:
                value = came[step.src, step.chunk]
                if step.kind is StepKind.REDUCE:
                    value = combine(value, chunks[step.chunk], call.op, call.dtype)
                chunks[step.chunk] = value
        return chunks

    def _receive(self, src: int, kind: str, tag: str) -> Any:
        """What the frame says of calls."""
        header, _ = self.mailbox.receive(src, kind, tag, 0, self.timeout_s)
        return header.fields["calls"]


@lru_cache(maxsize=MOST_PLANS)
def turns(plan: Plan) -> tuple[Turn, ...]:
    """What the plan's chip does in each round; empty chunks do not travel."""
    return tuple(_turn(plan, steps) for steps in plan.schedule.rounds)


def _turn(plan: Plan, steps: tuple[Step, ...]) -> Turn:
    me = plan.position
    sends: dict[tuple[int, StepKind], list[int]] = {}
    receives: dict[tuple[int, StepKind], list[int]] = {}
    applied = []
    for step in steps:
        if not plan.chunk_bytes[step.chunk]:
            continue
        if step.src == me:
            sends.setdefault((step.dst, step.kind), []).append(step.chunk)
        if step.dst == me:
            receives.setdefault((step.src, step.kind), []).append(step.chunk)
            applied.append(step)
    return Turn(
        tuple((dst, tuple(chunks)) for (dst, _), chunks in sends.items()),
        tuple((src, tuple(chunks)) for (src, _), chunks in receives.items()),
        tuple(applied),
    )


def _own_chunks(plan: Plan, words: Words) -> Chunks:
    """The chunks that the chip starts with."""
    schedule, chunks = plan.schedule, {}
    parts = schedule.operation.parts_at_start(schedule.num_ranks, plan.position, schedule.root)
    for part in parts:
        if plan.call.unit > 1:
            flat = units_of(words, plan.call.dtype, plan.source(part))
        else:
            own = words if words.ndim == 0 else words[plan.source(part).index]
            flat = np.ascontiguousarray(own).reshape(-1)
        for chunk in schedule.chunks_of((part,)):
            start = plan.chunk_starts[chunk]
            chunks[chunk] = flat[start : start + plan.chunk_items[chunk]]
    return chunks


def _result(plan: Plan, chunks: Chunks) -> Words | None:
    """The chip's result, from the chunks that it ends with; None if it ends with none."""
    if plan.ends_with_nothing:
        return None
    call, schedule = plan.call, plan.schedule
    result = np.empty(call.dtype.storage_shape(plan.result_shape), call.dtype.numpy)
    parts = schedule.operation.parts_at_end(schedule.num_ranks, plan.position, schedule.root)
    for part in parts:
        pieces = [_finished(plan, chunks.get(chunk)) for chunk in schedule.chunks_of((part,))]
        flat, target = np.concatenate(pieces), plan.target(part, plan.position)
        if call.unit > 1:
            put_units(flat, call.dtype, result, target)
        elif result.ndim == 0:
            result[...] = flat.reshape(())
        else:
            result[target.index] = flat.reshape(plan.part_shape(part))
    return result


def _finished(plan: Plan, words: Words | None) -> Words:
    """A complete chunk as it goes into the result."""
    if words is None:  # an empty chunk, which nobody sent
        call = plan.call
        row = () if call.unit == 1 else call.dtype.storage_shape((call.unit,))
        return np.empty((0, *row), call.dtype.numpy)
    for code in final_codes(plan.call):
        if code == ROUND:
            words = round_to_wire(words, plan.call)
        else:
            words = mean(words, plan.num_ranks, plan.call.dtype)
    return words
