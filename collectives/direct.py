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

import numpy as np
from numpy.typing import NDArray

from ..fabric.transport.window import Window
from .errors import CollectiveMismatch
from .plan import Plan, Words
from .schedule import Operation
from .sums import evaluate

HEADER = struct.Struct("<qQ16sI")  # simulated entry, number of the call, its digest, text length
HEADER_BYTES = 1024
ONE_MEETING_BYTES = 1 << 16
ONE_MEETING_CHIPS = 8
"""Up to this size and number every chip adds everything; above, the sums are shared out."""

Slots = tuple[NDArray[np.uint8], ...]
Shape = tuple[int, int]


class Direct:
    """Executes plans through the window of one group of chips on one host."""

    def __init__(self, window: Window, timeout_s: float) -> None:
        self.window, self.timeout_s = window, timeout_s
        self._views: dict[tuple[Plan, Shape, int], _Views] = {}
        self._described: dict[int, Plan] = {}  # the plan whose text each own slot holds

    def run(
        self, plan: Plan, number: int, words: Words, sim_now_ps: int
    ) -> tuple[Words, tuple[int, ...]]:
        """The result of the collective and the simulated entry times by position.

        Raises:
            CollectiveMismatch: another chip of the group made another call.
        """
        if plan.call.operation is Operation.BARRIER:
            return words, self._meet(plan, number, sim_now_ps)
        blocks = plan.to_blocks(words)
        rows = 1 if plan.call.operation is Operation.REDUCE_SCATTER else len(plan.block_of)
        result = np.empty((rows, blocks.shape[1]), dtype=blocks.dtype)
        entries: tuple[int, ...] = ()
        for piece in self._pieces(blocks):
            self._put(blocks[:, piece])
            entries = self._meet(plan, number, sim_now_ps)
            self._take(plan, number, sim_now_ps, blocks[:, piece], result[:, piece])
        return plan.from_blocks(result), entries

    def _take(self, plan: Plan, number: int, sim_now_ps: int, blocks: Words, result: Words) -> None:
        """Fill the result from what everybody has published, by a second meeting if need be."""
        operation, views = plan.call.operation, self._read(plan, blocks.shape)
        if operation is Operation.ALL_GATHER:
            views.gather(result)
        elif operation is Operation.BROADCAST:
            result[...] = views.arrays[plan.group.ranks.index(plan.call.root)]
        elif operation is Operation.REDUCE_SCATTER:
            result[0] = views.sum(plan.position)
        elif blocks.nbytes <= ONE_MEETING_BYTES and len(plan.block_of) <= ONE_MEETING_CHIPS:
            for chunk, block in enumerate(plan.block_of):
                result[block] = views.sum(chunk)
        else:
            self._put(views.sum(plan.position)[None])
            self._meet(plan, number, sim_now_ps)
            self._read(plan, (1, blocks.shape[1])).gather(result)

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

    def _read(self, plan: Plan, shape: tuple[int, ...]) -> "_Views":
        """Views of what all chips published; made once for each plan and slot, then looked up."""
        slots = self.window.slots()
        key = (plan, (shape[0], shape[1]), id(slots))
        views = self._views.get(key)
        if views is None:
            views = self._views[key] = _Views(plan, slots, (shape[0], shape[1]))
        return views

    def _meet(self, plan: Plan, number: int, sim_now_ps: int) -> tuple[int, ...]:
        """Publish, wait for all, and check that all calls are equal; entry times by position."""
        buffer, text = self.window.buffer(), plan.text
        HEADER.pack_into(buffer.data, 0, sim_now_ps, number, plan.digest, len(text))
        if self._described.get(id(buffer)) is not plan:
            buffer[HEADER.size : HEADER.size + len(text)] = text
            self._described[id(buffer)] = plan
        self.window.publish()
        self.window.wait_all(self.timeout_s)
        headers = [HEADER.unpack_from(slot.data) for slot in self.window.slots()]
        called = headers[0][1:3]
        for index, header in enumerate(headers):
            if header[1:3] != called:
                raise self._mismatch(plan, index)
        return tuple([headers[block][0] for block in plan.block_of])

    def _mismatch(self, plan: Plan, other: int) -> CollectiveMismatch:
        """What the group's first chip called, and the first chip that differs from it."""
        first, theirs = (_call_in(self.window.slots()[index]) for index in (0, other))
        ranks = plan.group.ranks
        return CollectiveMismatch(ranks[plan.rank_index], ranks[0], first, ranks[other], theirs)


class _Views:
    """What all chips laid into one parity of their slots, as arrays of [rows, columns]."""

    def __init__(self, plan: Plan, slots: Slots, shape: Shape) -> None:
        dtype = plan.call.dtype.numpy
        num_bytes = shape[0] * shape[1] * dtype.itemsize
        self.plan = plan
        self.arrays: list[Words] = [
            slot[HEADER_BYTES : HEADER_BYTES + num_bytes].view(dtype).reshape(shape)
            for slot in slots
        ]
        self._rows: dict[int, list[Words]] = {}

    @cached_property
    def _first_rows(self) -> list[Words]:
        return [array[0] for array in self.arrays]

    def gather(self, result: Words) -> None:
        """Row 0 of every chip, by ascending rank, as the rows of `result`."""
        np.stack(self._first_rows, out=result)

    def sum(self, chunk: int) -> Words:
        """The sum of a chunk over all chips, in the schedule's order."""
        rows = self._rows.get(chunk)
        if rows is None:
            block = self.plan.block_of[chunk]
            rows = [self.arrays[rank_index][block] for rank_index in self.plan.block_of]
            self._rows[chunk] = rows
        return evaluate(self.plan.schedule.sums(self.plan.position)[chunk], rows)


def _call_in(slot: NDArray[np.uint8]) -> str:
    """The call that a slot's header describes."""
    _, number, _, length = HEADER.unpack_from(slot.data)
    text = bytes(slot[HEADER.size : HEADER.size + length]).decode(errors="replace")
    return f"{text} as collective {number} of its group"
