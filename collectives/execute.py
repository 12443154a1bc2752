"""Executing a schedule step by step: chunks travel as messages, over any transport."""

from typing import TypeAlias

import numpy as np

from ..chip import kernels
from ..fabric.frame import FrameHeader, decode_header, encode_header
from ..fabric.transport.base import Transport
from .errors import CollectiveError, CollectiveMismatch
from .plan import Plan, Words
from .schedule import Operation, StepKind

Fields: TypeAlias = dict[str, object]
CALL, CALLS, CHUNK = "call", "calls", "chunk"
"""What a frame carries: one chip's call, the calls of all chips of a group, a chunk."""


class StepByStep:
    """The reference executor. It works between hosts, and whatever the topology.

    First the chips agree: each tells the group's first chip what it called and when (simulated),
    and gets everybody's answer back. Then the rounds of the schedule follow.
    """

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self.transport, self.timeout_s = transport, timeout_s

    def run(
        self, plan: Plan, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words, tuple[int, ...]]:
        """The result of the collective and the simulated entry times by position.

        Raises:
            CollectiveMismatch: another chip of the group made another call.
            RecvTimeout: a chip of the group did not come in time.
        """
        entries = self._agree(plan, number, sim_now_ps)
        if plan.call.operation is Operation.BARRIER:
            return words, entries
        return plan.from_blocks(self._steps(plan, number, plan.to_blocks(words))), entries

    def _agree(self, plan: Plan, number: int, sim_now_ps: int) -> tuple[int, ...]:
        """Everybody's entry time, after a check that all calls are equal."""
        rank, ranks = self.transport.rank, plan.group.ranks
        leader = ranks[0]
        calls = {rank: (plan.call_text(number), sim_now_ps)}
        if rank == leader:
            for src in ranks[1:]:
                calls[src] = self._receive(src, CALL, number).fields["call"]
            for dst in ranks[1:]:
                self._send(dst, CALLS, number, {"calls": [[c, *calls[c]] for c in ranks]})
        else:
            self._send(leader, CALL, number, {"call": calls[rank]})
            answer = self._receive(leader, CALLS, number).fields["calls"]
            calls = {chip: (text, entry) for chip, text, entry in answer}
        for other in ranks:
            if calls[other][0] != calls[leader][0]:
                raise CollectiveMismatch(rank, leader, calls[leader][0], other, calls[other][0])
        return tuple(calls[chip][1] for chip in plan.group.order)

    def _steps(self, plan: Plan, number: int, blocks: Words) -> Words:
        """Carry out the rounds; the blocks that the chip ends with."""
        chunks = _own_chunks(plan, blocks)
        order, me = plan.group.order, plan.position
        for steps in plan.schedule.rounds:
            for step in steps:
                if step.src == me and plan.chunk_bytes[step.chunk]:
                    self._send(order[step.dst], CHUNK, number, {}, chunks[step.chunk])
            for step in steps:
                if step.dst == me and plan.chunk_bytes[step.chunk]:
                    received = self._receive_chunk(order[step.src], plan, number)
                    if step.kind is StepKind.ADD:
                        received = kernels.fold([received, chunks[step.chunk]])
                    chunks[step.chunk] = received
        return _joined(plan, chunks)

    def _send(
        self,
        dst: int,
        kind: str,
        number: int,
        fields: dict[str, object],
        words: Words | None = None,
    ) -> None:
        header = FrameHeader(kind, self.transport.rank, dst, 0, sequence=number, fields=fields)
        self.transport.send(dst, encode_header(header), words)

    def _receive(self, src: int, kind: str, number: int) -> FrameHeader:
        return self._frame(src, kind, number)[0]

    def _receive_chunk(self, src: int, plan: Plan, number: int) -> Words:
        _, payload = self._frame(src, CHUNK, number)
        received: Words = np.frombuffer(payload, dtype=plan.call.dtype.numpy)
        return received

    def _frame(self, src: int, kind: str, number: int) -> tuple[FrameHeader, memoryview | bytes]:
        """The next frame from `src`, which must be of this kind and of this collective."""
        data, payload = self.transport.recv(src, self.timeout_s)
        header = decode_header(data)
        if kind != header.kind or header.sequence != number:
            raise CollectiveError(
                f"chip {self.transport.rank} awaited a {kind} of collective {number} from chip "
                f"{src}, but a {header.kind} of collective {header.sequence} came"
            )
        return header, payload


def _own_chunks(plan: Plan, blocks: Words) -> dict[int, Words]:
    """The chunks that the chip starts with, by chunk number."""
    if plan.call.operation is Operation.ALL_GATHER:
        return {plan.position: blocks[0]}
    return {chunk: blocks[block] for chunk, block in enumerate(plan.block_of)}


def _joined(plan: Plan, chunks: dict[int, Words]) -> Words:
    """The blocks of the result, [number of blocks the chip ends with, block_items]."""
    if plan.call.operation is Operation.REDUCE_SCATTER:
        return chunks[plan.position].reshape(1, -1)
    result = np.empty((len(plan.block_of), plan.block_items), dtype=plan.call.dtype.numpy)
    for chunk, block in enumerate(plan.block_of):
        row = chunks.get(chunk)
        if row is not None:
            result[block, : row.size] = row
    return result
