"""One collective call, planned once: its schedule, the cut of its tensor, its simulated time."""

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..fabric.topology import Box
from .algorithms.line import line_schedule
from .algorithms.ring import ring_schedule
from .costs import load_costs
from .errors import ChunkError
from .group import Group, group_of
from .schedule import Operation, Order, Schedule, Sum
from .simulate import Timing, Traffic, simulate

Words = NDArray[np.generic]
MAX_TEXT_BYTES = 900
MOST_PLANS = 4096
"""Plans and timings remembered; each new shape makes one."""
BARRIER_TOKEN_BYTES = 16
"""What one barrier message carries: the smallest payload of the fabric's own latency tests."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a chip asks for. Chips that take part in one collective must make equal calls.

    `dim` is the tensor dim that is cut (reduce_scatter) or joined (all_gather), never negative;
    `root` is the rank that broadcasts.
    """

    operation: Operation
    shape: tuple[int, ...]
    dtype: DType
    axis: int | None = None
    dim: int = 0
    root: int = 0

    def __str__(self) -> str:
        words = [f"{self.operation.value}(shape {self.shape}, {self.dtype.label}"]
        if self.axis is not None:
            words.append(f"axis {self.axis}")
        if self.operation in (Operation.ALL_GATHER, Operation.REDUCE_SCATTER):
            words.append(f"dim {self.dim}")
        if self.operation is Operation.BROADCAST:
            words.append(f"root {self.root}")
        return ", ".join(words) + ")"


@dataclass(frozen=True, eq=False)
class Plan:
    """A call on one chip's group: `block_of[chunk]` is the part of the tensor that a chunk is.

    The tensor is laid out as `num_blocks` rows of `block_items` items; for all_reduce and
    broadcast the last rows may be partly or wholly padding, which is neither sent nor timed.
    """

    call: Call
    box: Box
    group: Group
    position: int
    schedule: Schedule
    block_of: tuple[int, ...]
    num_blocks: int
    block_items: int
    chunk_bytes: tuple[int, ...]

    @cached_property
    def rank_index(self) -> int:
        """Where this chip stands among the ascending ranks of its group."""
        return self.block_of[self.position]

    @cached_property
    def result_rows(self) -> int:
        """How many blocks the chip ends with."""
        return 1 if self.call.operation is Operation.REDUCE_SCATTER else len(self.block_of)

    @cached_property
    def sums(self) -> dict[int, Sum | Order]:
        """How each chunk that this chip ends with is added up."""
        return self.schedule.sums(self.position)

    def call_text(self, number: int) -> str:
        """The call as the `number`-th of its group in a run."""
        return f"{self.call} as collective {number} of its group"

    @cached_property
    def text(self) -> NDArray[np.uint8]:
        """The call in words, as UTF-8 bytes, for the other chips."""
        return np.frombuffer(str(self.call).encode()[:MAX_TEXT_BYTES], np.uint8)

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that differ where calls differ."""
        return hashlib.blake2b(str(self.call).encode(), digest_size=16).digest()

    @cached_property
    def result_shape(self) -> tuple[int, ...]:
        """The shape of the chip's result."""
        shape, dim, ranks = self.call.shape, self.call.dim, len(self.group.ranks)
        if self.call.operation is Operation.REDUCE_SCATTER:
            return (*shape[:dim], shape[dim] // ranks, *shape[dim + 1 :])
        if self.call.operation is Operation.ALL_GATHER:
            return (*shape[:dim], ranks * shape[dim], *shape[dim + 1 :])
        return shape

    @cached_property
    def bytes_sent(self) -> int:
        """What this chip sends in all."""
        return sum(
            self.chunk_bytes[step.chunk]
            for steps in self.schedule.rounds
            for step in steps
            if step.src == self.position
        )

    @property
    def is_trivial(self) -> bool:
        """True when the chip is alone: nothing to send, no time."""
        return len(self.group.ranks) == 1

    def exit_ps(self, sim_entry_ps: tuple[int, ...]) -> int:
        """When this chip is done, if the positions enter at `sim_entry_ps` (simulated ps)."""
        first = min(sim_entry_ps)
        relative = _timing(self, tuple([entry - first for entry in sim_entry_ps]))
        return first + relative.sim_exit_ps[self.position]

    @cached_property
    def traffic(self) -> Traffic:
        """Bytes and messages that this chip sends over each link; no entry time changes them."""
        return _timing(self, (0,) * len(self.group.order)).traffic[self.position]

    def to_blocks(self, words: Words) -> Words:
        """The chip's tensor as rows [num_blocks, block_items], zero-padded."""
        if self.call.operation is Operation.REDUCE_SCATTER:
            words = np.moveaxis(words.reshape(self._split_shape()), self.call.dim, 0)
            return np.ascontiguousarray(words).reshape(self.num_blocks, self.block_items)
        flat = np.ascontiguousarray(words).reshape(-1)
        padded = self.num_blocks * self.block_items
        if flat.size != padded:
            flat = np.concatenate([flat, np.zeros(padded - flat.size, flat.dtype)])
        return flat.reshape(self.num_blocks, self.block_items)

    def from_blocks(self, blocks: Words) -> Words:
        """The result from its rows: all blocks, or for reduce_scatter the chip's own one."""
        if self.call.operation is Operation.ALL_GATHER:
            stacked = blocks.reshape(len(self.group.ranks), *self.call.shape)
            joined = np.moveaxis(stacked, 0, self.call.dim)
            return np.ascontiguousarray(joined).reshape(self.result_shape)
        return blocks.reshape(-1)[: math.prod(self.result_shape)].reshape(self.result_shape)

    def _split_shape(self) -> tuple[int, ...]:
        shape, dim, ranks = self.call.shape, self.call.dim, len(self.group.ranks)
        return (*shape[:dim], ranks, shape[dim] // ranks, *shape[dim + 1 :])


@lru_cache(maxsize=MOST_PLANS)
def make_plan(box: Box, rank: int, call: Call) -> Plan:
    """The plan of `call` on chip `rank` of `box`.

    Raises:
        ChunkError: reduce_scatter of a dim that does not divide over the group, or no such dim.
    """
    group = group_of(box, rank, call.axis)
    ranks = len(group.ranks)
    _check(call, ranks)
    make = ring_schedule if group.is_ring else line_schedule
    root = group.order.index(call.root) if call.operation is Operation.BROADCAST else 0
    schedule = make(call.operation, ranks, root)
    items = math.prod(call.shape)
    block_of = tuple(group.ranks.index(chip) for chip in group.order)
    if call.operation is Operation.BARRIER:
        return Plan(
            call, box, group, group.order.index(rank), schedule, block_of, ranks, 0,
            (BARRIER_TOKEN_BYTES,) * ranks,
        )  # fmt: skip
    cut_evenly = call.operation in (Operation.ALL_GATHER, Operation.REDUCE_SCATTER)
    block_items = items if call.operation is Operation.ALL_GATHER else -(-items // ranks)
    sizes = [
        block_items if cut_evenly else max(0, min(block_items, items - block * block_items))
        for block in block_of
    ]
    return Plan(
        call, box, group, group.order.index(rank), schedule, block_of,
        1 if call.operation is Operation.ALL_GATHER else ranks, block_items,
        tuple(size * call.dtype.itemsize for size in sizes),
    )  # fmt: skip


def _check(call: Call, ranks: int) -> None:
    if call.operation not in (Operation.ALL_GATHER, Operation.REDUCE_SCATTER):
        return
    exists = 0 <= call.dim < len(call.shape)
    if not exists or (
        call.operation is Operation.REDUCE_SCATTER and call.shape[call.dim] % ranks != 0
    ):
        raise ChunkError(call.operation.value, call.shape, call.dim, ranks)


@lru_cache(maxsize=MOST_PLANS)
def _timing(plan: Plan, sim_entry_ps: tuple[int, ...]) -> Timing:
    return simulate(
        plan.schedule, plan.box, plan.group.order, plan.chunk_bytes, sim_entry_ps, load_costs()
    )
