"""Executing a schedule step by step: chunks travel as messages, over any transport."""

import msgpack
import numpy as np

from ..chip import kernels
from ..fabric.transport.base import Transport
from .errors import CollectiveMismatch
from .plan import Plan, Words
from .schedule import Operation, StepKind


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
        """The result of the collective and the simulated entry times by position."""
        entries = self._agree(plan, number, sim_now_ps)
        if plan.call.operation is Operation.BARRIER:
            return words, entries
        return plan.from_blocks(self._steps(plan, plan.to_blocks(words))), entries

    def _agree(self, plan: Plan, number: int, sim_now_ps: int) -> tuple[int, ...]:
        """Everybody's entry time, after a check that all calls are equal."""
        rank, ranks = self.transport.rank, plan.group.ranks
        leader = ranks[0]
        mine = (rank, f"{plan.call} as collective {number} of its group", sim_now_ps)
        if rank == leader:
            calls = [mine, *(self._receive_call(src) for src in ranks[1:])]
            for dst in ranks[1:]:
                self.transport.send(dst, msgpack.packb(calls), None)
        else:
            self.transport.send(leader, msgpack.packb(mine), None)
            header, _ = self.transport.recv(leader, self.timeout_s)
            calls = msgpack.unpackb(header, use_list=False)
        for other, text, _ in calls:
            if text != calls[0][1]:
                raise CollectiveMismatch(rank, leader, calls[0][1], other, text)
        entry_of = {other: entry for other, _, entry in calls}
        return tuple(entry_of[chip] for chip in plan.group.order)

    def _receive_call(self, src: int) -> tuple[int, str, int]:
        header, _ = self.transport.recv(src, self.timeout_s)
        rank, text, sim_entry_ps = msgpack.unpackb(header)
        return rank, text, sim_entry_ps

    def _steps(self, plan: Plan, blocks: Words) -> Words:
        """Carry out the rounds; the blocks that the chip ends with."""
        chunks = _own_chunks(plan, blocks)
        order, me = plan.group.order, plan.position
        for steps in plan.schedule.rounds:
            for step in steps:
                if step.src == me and plan.chunk_bytes[step.chunk]:
                    self.transport.send(order[step.dst], b"", chunks[step.chunk].data)
            for step in steps:
                if step.dst == me and plan.chunk_bytes[step.chunk]:
                    _, payload = self.transport.recv(order[step.src], self.timeout_s)
                    received: Words = np.frombuffer(payload, dtype=plan.call.dtype.numpy)
                    if step.kind is StepKind.ADD:
                        received = kernels.fold([received, chunks[step.chunk]])
                    chunks[step.chunk] = received
        return _joined(plan, chunks)


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
