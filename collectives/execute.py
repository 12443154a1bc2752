"""Executing a schedule step by step: chunks travel as messages, over any transport."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

from .errors import CollectiveMismatch
from .mailbox import Mailbox
from .operation import Operation
from .plan import MOST_PLANS, Plan
from .program import ROUND, Words, combine, final_codes, from_wire, mean, round_to_wire, to_wire
from .request import Prepared
from .schedule import Step, StepKind

CALL, CALLS, CHUNKS = "call", "calls", "chunks"
"""What a frame carries: one chip's call, the calls of all chips of a group, chunks of a round."""
Chunks: TypeAlias = dict[int, Words]
Entries: TypeAlias = tuple[int, ...] | None
"""Simulated entry times by position; None: all alike."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one position does in a round: send to each in turn, then receive, then apply."""

    sends: tuple[tuple[int, tuple[int, ...]], ...]  # dst, chunks
    receives: tuple[tuple[int, tuple[int, ...]], ...]  # src, chunks
    steps: tuple[Step, ...]  # what arrives, in the order of the round


class StepByStep:
    """The reference executor. It works between hosts, and whatever the topology.

    First the chips agree: each tells the group's first chip what it called and when (simulated),
    and gets everybody's answer back. Then the rounds of the schedule follow; all chunks from one
    chip to another in a round are one message.
    """

    def __init__(self, mailbox: Mailbox, timeout_s: float) -> None:
        self.mailbox, self.timeout_s = mailbox, timeout_s

    def run(
        self, prepared: Prepared, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words | None, Entries]:
        """The result of the collective and the simulated entry times by position.

        Args:
            number: of the call in its group in this run.
            words: the chip's input in storage format.
        Raises:
            CollectiveMismatch: another chip of the group made another call.
            RecvTimeout: a chip of the group did not come in time.
        """
        plan = prepared.plan
        tag = ",".join(map(str, plan.call.ranks))
        entries = self._agree(plan, tag, number, prepared.line, sim_now_ps)
        if plan.call.operation is Operation.BARRIER:
            return None, entries
        chunks = self._rounds(plan, tag, number, _own_chunks(plan, words))
        return _result(plan, chunks), entries

    def _agree(
        self, plan: Plan, tag: str, number: int, line: str, sim_now_ps: int
    ) -> tuple[int, ...]:
        """Everybody's entry time, after a check that all calls are equal."""
        mail, ranks = self.mailbox, plan.call.ranks
        leader, own = ranks[0], (plan.call.text, line, sim_now_ps)
        calls = {mail.rank: own}
        if mail.rank == leader:
            for src in ranks[1:]:
                calls[src] = self._receive(src, CALL, tag, number)
            for dst in ranks[1:]:
                fields: dict[str, object] = {"calls": [[chip, *calls[chip]] for chip in ranks]}
                mail.send(dst, CALLS, tag, number, fields)
        else:
            mail.send(leader, CALL, tag, number, {"calls": own})
            answer = self._receive(leader, CALLS, tag, number)
            calls = {chip: (text, at, entry) for chip, text, at, entry in answer}
        for other in ranks:
            if calls[other][0] != calls[leader][0]:
                raise mismatch(mail.rank, number, leader, calls[leader], other, calls[other])
        return tuple(calls[chip][2] for chip in plan.order)

    def _rounds(self, plan: Plan, tag: str, number: int, chunks: Chunks) -> Chunks:
        """Carry out the rounds; what the chip holds then."""
        call, kind = plan.call, (plan.call.wire if plan.call.rounds_on_wire else plan.call.dtype)
        assert kind is not None
        for count, turn in enumerate(turns(plan)):
            sequence = number * (len(plan.schedule.rounds) + 1) + count
            for dst, sent in turn.sends:
                wire = [to_wire(chunks[chunk], call) for chunk in sent]
                whole = wire[0] if len(wire) == 1 else np.concatenate(wire)
                self.mailbox.send(plan.order[dst], CHUNKS, tag, sequence, {}, whole)
            came: dict[tuple[int, int], Words] = {}
            for src, wanted in turn.receives:
                _, payload = self.mailbox.receive(
                    plan.order[src], CHUNKS, tag, sequence, self.timeout_s
                )
                whole, start = np.frombuffer(payload, kind.numpy), 0
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

    def _receive(self, src: int, kind: str, tag: str, number: int) -> Any:
        """What the frame says of calls."""
        header, _ = self.mailbox.receive(src, kind, tag, number, self.timeout_s)
        return header.fields["calls"]


def mismatch(
    chip: int,
    number: int,
    leader: int,
    first: tuple[str, str, int],
    other: int,
    theirs: tuple[str, str, int],
) -> CollectiveMismatch:
    """The error for two calls, each of text, source line and entry time."""
    return CollectiveMismatch(chip, number, leader, first[0], first[1], other, theirs[0], theirs[1])


@lru_cache(maxsize=MOST_PLANS)
def turns(plan: Plan) -> tuple[Turn, ...]:
    """What the plan's chip does in each round; empty chunks do not travel."""
    return tuple(_turn(plan, steps) for steps in plan.schedule.rounds)


def _turn(plan: Plan, steps: tuple[Step, ...]) -> Turn:
    me = plan.position
    sends: dict[int, list[int]] = {}
    receives: dict[int, list[int]] = {}
    applied = []
    for step in steps:
        if not plan.chunk_bytes[step.chunk]:
            continue
        if step.src == me:
            sends.setdefault(step.dst, []).append(step.chunk)
        if step.dst == me:
            receives.setdefault(step.src, []).append(step.chunk)
            applied.append(step)
    return Turn(
        tuple((dst, tuple(chunks)) for dst, chunks in sends.items()),
        tuple((src, tuple(chunks)) for src, chunks in receives.items()),
        tuple(applied),
    )


def _own_chunks(plan: Plan, words: Words) -> Chunks:
    """The chunks that the chip starts with."""
    schedule, chunks = plan.schedule, {}
    parts = schedule.operation.parts_at_start(schedule.num_ranks, plan.position, schedule.root)
    for part in parts:
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
    result = np.empty(plan.result_shape, call.dtype.numpy)
    parts = schedule.operation.parts_at_end(schedule.num_ranks, plan.position, schedule.root)
    for part in parts:
        pieces = [_finished(plan, chunks.get(chunk)) for chunk in schedule.chunks_of((part,))]
        flat = np.concatenate(pieces).reshape(plan.part_shape(part))
        if result.ndim == 0:
            result[...] = flat
        else:
            result[plan.target(part, plan.position).index] = flat
    return result


def _finished(plan: Plan, words: Words | None) -> Words:
    """A complete chunk as it goes into the result."""
    if words is None:  # an empty chunk, which nobody sent
        return np.empty(0, plan.call.dtype.numpy)
    for code in final_codes(plan.call):
        if code == ROUND:
            words = round_to_wire(words, plan.call)
        else:
            words = mean(words, plan.num_ranks, plan.call.dtype)
    return words
