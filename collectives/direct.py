"""Executing a schedule directly in shared memory: the same sums in the same order, no messages.

Every chip lays its blocks into its own window slot and reads the others'. The order of each sum is
read off the schedule (`Schedule.contributions`), so the bits are those of the step-by-step
execution. Small tensors take one meeting: everybody adds every block. Large all_reduces take two:
everybody adds its own block, then collects the others'. A slot holds a header (the call and the
simulated entry time) and a piece of the tensor; a tensor larger than a slot goes in pieces.
"""

import struct
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..fabric.transport.window import Window
from .errors import CollectiveMismatch
from .plan import Plan, Words, call_text
from .schedule import Operation
from .sums import evaluate

HEADER = struct.Struct("<q16sI")  # simulated entry time, digest of the call, length of its text
HEADER_BYTES = 1024
ONE_MEETING_BYTES = 1 << 16
ONE_MEETING_CHIPS = 8
"""Up to this size and number every chip adds everything; above, the sums are shared out."""

Slots = tuple[NDArray[np.uint8], ...]


class Direct:
    """Executes plans through the window of one group of chips on one host."""

    def __init__(self, window: Window, timeout_s: float) -> None:
        self.window, self.timeout_s = window, timeout_s
        self._views: dict[tuple[Plan, tuple[int, int], int], _Views] = {}

    def run(
        self, plan: Plan, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words, tuple[int, ...]]:
        """The result of the collective and the simulated entry times by position."""
        if plan.call.operation is Operation.BARRIER:
            self._write_header(plan, number, sim_now_ps)
            self._meet()
            return words, self._read_headers(plan)
        blocks = plan.to_blocks(words)
        rows = 1 if plan.call.operation is Operation.REDUCE_SCATTER else len(plan.block_of)
        result = np.empty((rows, blocks.shape[1]), dtype=blocks.dtype)
        entries: tuple[int, ...] = ()
        for piece in self._pieces(blocks):
            self._write_header(plan, number, sim_now_ps)
            entries = self._piece(plan, blocks[:, piece], result[:, piece])
        return plan.from_blocks(result), entries

    def _piece(self, plan: Plan, blocks: Words, result: Words) -> tuple[int, ...]:
        """One slot full: publish the blocks, meet, and fill the same columns of the result."""
        self._put(blocks)
        self._meet()
        entries = self._read_headers(plan)
        operation, views = plan.call.operation, self._read(plan, blocks.shape)
        if operation is Operation.ALL_GATHER:
            for block, row in enumerate(views.first_rows):
                result[block] = row
        elif operation is Operation.BROADCAST:
            result[:] = views.arrays[plan.group.ranks.index(plan.call.root)]
        elif operation is Operation.REDUCE_SCATTER:
            result[0] = views.sum(plan.position)
        elif blocks.nbytes <= ONE_MEETING_BYTES and len(plan.block_of) <= ONE_MEETING_CHIPS:
            for chunk, block in enumerate(plan.block_of):
                result[block] = views.sum(chunk)
        else:
            self._put(views.sum(plan.position)[None])
            self._meet()
            for block, row in enumerate(self._read(plan, (1, blocks.shape[1])).first_rows):
                result[block] = row
        return entries

    def _pieces(self, blocks: Words) -> Iterator[slice]:
        """The columns that fit a slot, part by part."""
        room = self.window.slot_bytes - HEADER_BYTES
        width = max(1, room // (blocks.shape[0] * blocks.itemsize))
        for start in range(0, blocks.shape[1], width):
            yield slice(start, min(start + width, blocks.shape[1]))

    def _put(self, blocks: Words) -> None:
        """Lay the blocks into this chip's slot, behind the header."""
        room = self.window.buffer()[HEADER_BYTES : HEADER_BYTES + blocks.nbytes]
        room.view(blocks.dtype).reshape(blocks.shape)[...] = blocks

    def _meet(self) -> None:
        self.window.publish()
        self.window.wait_all(self.timeout_s)

    def _read(self, plan: Plan, shape: tuple[int, ...]) -> "_Views":
        """Views of what all chips published; made once for each plan and slot, then looked up."""
        slots = self.window.slots()
        key = (plan, (shape[0], shape[1]), id(slots))
        views = self._views.get(key)
        if views is None:
            views = self._views[key] = _Views(plan, slots, (shape[0], shape[1]))
        return views

    def _write_header(self, plan: Plan, number: int, sim_now_ps: int) -> None:
        text = call_text(plan.call, number)
        buffer = self.window.buffer()
        HEADER.pack_into(buffer.data, 0, sim_now_ps, text.digest, len(text.array))
        buffer[HEADER.size : HEADER.size + len(text.array)] = text.array

    def _read_headers(self, plan: Plan) -> tuple[int, ...]:
        """Everybody's simulated entry time by position, after a check that all calls are equal."""
        slots = self.window.slots()
        headers = [HEADER.unpack_from(slot.data) for slot in slots]
        first = headers[0][1]
        for index, (_, call, _) in enumerate(headers):
            if call != first:
                ranks = plan.group.ranks
                raise CollectiveMismatch(
                    plan.group.order[plan.position],
                    ranks[0],
                    _text(slots[0], headers[0]),
                    ranks[index],
                    _text(slots[index], headers[index]),
                )
        return tuple(headers[block][0] for block in plan.block_of)


class _Views:
    """What all chips laid into one parity of their slots, as arrays of [rows, columns]."""

    def __init__(self, plan: Plan, slots: Slots, shape: tuple[int, int]) -> None:
        dtype = plan.call.dtype.numpy
        num_bytes = shape[0] * shape[1] * dtype.itemsize
        self.plan, self.slots = plan, slots
        self.arrays: list[Words] = [
            slot[HEADER_BYTES : HEADER_BYTES + num_bytes].view(dtype).reshape(shape)
            for slot in slots
        ]
        self._rows: dict[int, list[Words]] = {}

    @cached_property
    def first_rows(self) -> list[Words]:
        """Row 0 of every chip, by ascending rank."""
        return [array[0] for array in self.arrays]

    def sum(self, chunk: int) -> Words:
        """The sum of a chunk over all chips, in the schedule's order."""
        rows = self._rows.get(chunk)
        block_of = self.plan.block_of
        if rows is None:
            rows = [self.arrays[rank_index][block_of[chunk]] for rank_index in block_of]
            self._rows[chunk] = rows
        how = self.plan.schedule.contributions[self.plan.position][chunk]
        return evaluate(how, rows.__getitem__)


def _text(slot: NDArray[np.uint8], header: tuple[Any, ...]) -> str:
    """The call that a slot's header describes."""
    return bytes(slot[HEADER.size : HEADER.size + header[2]]).decode()
