"""Executing a schedule directly in shared memory: the same sums in the same order, no messages.

Every chip lays its blocks into its own window slot and reads the others'. The order of each sum is
read off the schedule (`Schedule.contributions`), so the bits are those of the step-by-step
execution. Small tensors take one meeting: everybody adds every block. Large all_reduces take two:
everybody adds its own block, then collects the others'. A slot holds a header (the call and the
simulated entry time) and a piece of the tensor; a tensor larger than a slot goes in pieces.
"""

import struct

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

Shape = tuple[int, int]
Slot = NDArray[np.uint8]


class Direct:
    """Executes plans through the window of one group of chips on one host."""

    def __init__(self, window: Window, timeout_s: float) -> None:
        self.window, self.timeout_s = window, timeout_s
        self._arrays: dict[tuple[Plan, Shape, int], Words] = {}
        self._terms: dict[tuple[Plan, Shape, int, int], list[Words]] = {}
        self._described: dict[int, Plan] = {}  # the plan whose words each own slot holds

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
        rows, columns = blocks.shape
        result = np.empty((plan.result_rows, columns), dtype=blocks.dtype)
        width = max(1, (self.window.slot_bytes - HEADER_BYTES) // (max(1, rows * blocks.itemsize)))
        if columns == 0:
            return plan.from_blocks(result), self._meet(plan, number, sim_now_ps)
        entries: tuple[int, ...] = ()
        for start in range(0, columns, width):
            cut = slice(start, start + width)
            entries = self._piece(plan, number, sim_now_ps, blocks[:, cut], result[:, cut])
        return plan.from_blocks(result), entries

    def _piece(
        self, plan: Plan, number: int, sim_now_ps: int, blocks: Words, result: Words
    ) -> tuple[int, ...]:
        """One slot full: publish it, meet, and fill the same columns of the result."""
        rows, columns = shape = blocks.shape
        self._array(plan, shape, self.window.buffer())[...] = blocks
        entries = self._meet(plan, number, sim_now_ps)
        operation = plan.call.operation
        if operation is Operation.ALL_GATHER:
            self._gather(plan, shape, result)
        elif operation is Operation.BROADCAST:
            slot = self.window.slots()[plan.group.ranks.index(plan.call.root)]
            result[...] = self._array(plan, shape, slot)
        elif operation is Operation.REDUCE_SCATTER:
            result[0] = self._sum(plan, shape, plan.position)
        elif blocks.nbytes <= ONE_MEETING_BYTES and rows <= ONE_MEETING_CHIPS:
            for chunk, block in enumerate(plan.block_of):
                result[block] = self._sum(plan, shape, chunk)
        else:
            own = self._sum(plan, shape, plan.position)
            self._array(plan, (1, columns), self.window.buffer())[0] = own
            self._meet(plan, number, sim_now_ps)
            self._gather(plan, (1, columns), result)
        return entries

    def _meet(self, plan: Plan, number: int, sim_now_ps: int) -> tuple[int, ...]:
        """Publish, wait for all, and check that all calls are equal; entry times by position."""
        window, own = self.window, self.window.buffer()
        HEADER.pack_into(own.data, 0, sim_now_ps, number, plan.digest, len(plan.text))
        if self._described.get(id(own)) is not plan:
            own[HEADER.size : HEADER.size + len(plan.text)] = plan.text
            self._described[id(own)] = plan
        window.publish()
        window.wait_all(self.timeout_s)
        headers = [HEADER.unpack_from(slot.data) for slot in window.slots()]
        _, first_number, first_digest, _ = headers[0]
        for index, (_, their_number, their_digest, _) in enumerate(headers):
            if their_digest != first_digest or their_number != first_number:
                raise self._mismatch(plan, index)
        return tuple([headers[block][0] for block in plan.block_of])

    def _array(self, plan: Plan, shape: Shape, slot: Slot) -> Words:
        """The data of a slot, behind its header; the view is made once."""
        key = (plan, shape, id(slot))
        array = self._arrays.get(key)
        if array is None:
            dtype = plan.call.dtype.numpy
            num_bytes = shape[0] * shape[1] * dtype.itemsize
            data = slot[HEADER_BYTES : HEADER_BYTES + num_bytes]
            array = self._arrays[key] = data.view(dtype).reshape(shape)
        return array

    def _gather(self, plan: Plan, shape: Shape, result: Words) -> None:
        """Row 0 of every chip, by ascending rank, as the rows of `result`."""
        for row, slot in zip(result, self.window.slots(), strict=True):
            row[...] = self._array(plan, shape, slot)[0]

    def _sum(self, plan: Plan, shape: Shape, chunk: int) -> Words:
        """The sum of a chunk over all chips, in the schedule's order."""
        slots = self.window.slots()
        key = (plan, shape, id(slots), chunk)
        terms = self._terms.get(key)
        if terms is None:
            block = plan.block_of[chunk]
            terms = [self._array(plan, shape, slots[i])[block] for i in plan.block_of]
            self._terms[key] = terms
        return evaluate(plan.sums[chunk], terms)

    def _mismatch(self, plan: Plan, other: int) -> CollectiveMismatch:
        """What the group's first chip called, and the first chip that differs from it."""
        first, theirs = (_call_in(self.window.slots()[index]) for index in (0, other))
        ranks = plan.group.ranks
        return CollectiveMismatch(ranks[plan.rank_index], ranks[0], first, ranks[other], theirs)


def _call_in(slot: Slot) -> str:
    """The call that a slot's header describes."""
    _, number, _, length = HEADER.unpack_from(slot.data)
    text = bytes(slot[HEADER.size : HEADER.size + length]).decode(errors="replace")
    return f"{text} as collective {number} of its group"
