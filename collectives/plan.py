"""One collective call, planned once: its schedule, the cut of its tensor, its simulated time."""

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from ..fabric.topology import Box
from .algorithm import Algorithm, algorithms
from .call import Call
from .check import check_call
from .costs import CollectiveCosts, costs_of
from .cut import Region, Shape, split_sizes, units, whole
from .errors import AlgorithmError
from .group import stand_or_fail
from .operation import Operation
from .schedule import Schedule, Sum
from .simulate import Timing, Traffic, simulate

MOST_PLANS = 4096
"""Plans and timings remembered; each new shape makes one."""
BARRIER_TOKEN_BYTES = 16
"""What one barrier message carries: the smallest payload of the fabric's own latency tests."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A call as one chip of its group carries it out.

    `order[position]` is the rank at each position of the schedule.
    """

    call: Call
    box: Box
    order: tuple[int, ...]
    position: int
    schedule: Schedule
    costs: CollectiveCosts

    @property
    def rank(self) -> int:
        """The chip whose plan this is."""
        return self.order[self.position]

    @property
    def num_ranks(self) -> int:
        """How many chips take part."""
        return len(self.order)

    @cached_property
    def index_of(self) -> tuple[int, ...]:
        """Where the chip at each position stands among the ascending ranks of the group."""
        return tuple(self.call.ranks.index(rank) for rank in self.order)

    @cached_property
    def ends_with_nothing(self) -> bool:
        """True for the chips that get no result: all but the root of a reduce or a gather."""
        return not self.schedule.chunks_at_end(self.position)

    @cached_property
    def result_shape(self) -> Shape:
        """The shape of this chip's result."""
        return self.result_shape_at(self.position)

    def result_shape_at(self, position: int) -> Shape:
        """The shape of the result of the chip at a position."""
        call, shape = self.call, self.call.shape
        own = self._cut_sizes[self.index_of[position]] if call.operation.cuts else 0
        if call.operation is Operation.ALL_TO_ALL:
            shape = _with(shape, call.dim, own)
            size = shape[call.concat_dim] * self.num_ranks
            return _with(shape, call.concat_dim, size)
        if call.operation.cuts:
            return _with(shape, call.dim, own)
        if call.operation.joins:
            return _with(shape, call.dim, sum(self._join_sizes))
        return shape

    @cached_property
    def _cut_sizes(self) -> tuple[int, ...]:
        return split_sizes(self.call.shape[self.call.dim], self.num_ranks)

    @cached_property
    def _join_sizes(self) -> tuple[int, ...]:
        call = self.call
        return call.sizes or (call.shape[call.dim],) * self.num_ranks

    def source(self, part: int) -> Region:
        """Where a part lies in the input of the chips that start with it."""
        call = self.call
        if call.operation.cuts:
            index = self.index_of[part % self.num_ranks]
            return Region(
                call.shape, call.dim, sum(self._cut_sizes[:index]), self._cut_sizes[index]
            )
        if call.operation.joins:
            return whole(_with(call.shape, call.dim, self._join_sizes[self.index_of[part]]))
        return whole(call.shape)

    def target(self, part: int, position: int) -> Region:
        """Where a part lies in the result of the chip at a position that ends with it."""
        call, shape = self.call, self.result_shape_at(position)
        if call.operation is Operation.ALL_TO_ALL:
            size = shape[call.concat_dim] // self.num_ranks
            index = self.index_of[part // self.num_ranks]
            return Region(shape, call.concat_dim, index * size, size)
        if call.operation.joins:
            index = self.index_of[part]
            sizes = self._join_sizes
            return Region(shape, call.dim, sum(sizes[:index]), sizes[index])
        return whole(shape)

    def part_shape(self, part: int) -> Shape:
        """The shape of a part: () of a tensor without dims."""
        return () if not self.call.shape else self.source(part).part_shape

    @property
    def input_bytes(self) -> int:
        """The size of this chip's input."""
        return self.call.dtype.num_bytes(self.call.shape)

    @property
    def most_input_bytes(self) -> int:
        """The size of the largest input of a chip of the group."""
        call = self.call
        shape = call.shape if call.sizes is None else _with(call.shape, call.dim, max(call.sizes))
        return call.dtype.num_bytes(shape)

    @property
    def output_bytes(self) -> int:
        """The size of this chip's result; 0 when it gets none."""
        if self.ends_with_nothing:
            return 0
        return self.call.dtype.num_bytes(self.result_shape)

    @cached_property
    def chunk_items(self) -> tuple[int, ...]:
        """The items of each chunk: elements, or the units of 16 that block floats are cut in."""
        pieces = self.schedule.pieces
        return tuple(
            size
            for part in range(self.schedule.num_parts)
            for size in split_sizes(self._part_items(part), pieces)
        )

    def _part_items(self, part: int) -> int:
        shape, unit = self.part_shape(part), self.call.unit
        return math.prod(shape) if unit == 1 else math.prod(shape[:-1]) * units(shape, unit)

    @cached_property
    def chunk_starts(self) -> tuple[int, ...]:
        """Where each chunk starts in its part, in items."""
        pieces, sizes = self.schedule.pieces, self.chunk_items
        return tuple(
            sum(sizes[chunk - chunk % pieces : chunk]) for chunk in range(self.schedule.num_chunks)
        )

    @cached_property
    def has_whole_units(self) -> bool:
        """Is every part a row, or of rows of whole units? Then chunks are stretches of elements."""
        unit = self.call.unit
        if unit == 1:
            return True
        shapes = {self.part_shape(part) for part in range(self.schedule.num_parts)}
        return all(
            not shape or shape[-1] % unit == 0 or math.prod(shape[:-1]) <= 1 for shape in shapes
        )

    def elements(self, chunk: int) -> tuple[int, int]:
        """Where a chunk starts in its part, and its size, in elements (see `has_whole_units`)."""
        start, size, unit = self.chunk_starts[chunk], self.chunk_items[chunk], self.call.unit
        if unit == 1:
            return start, size
        total = math.prod(self.part_shape(chunk // self.schedule.pieces))
        first = min(start * unit, total)
        return first, min(size * unit, total - first)

    @cached_property
    def chunk_bytes(self) -> tuple[int, ...]:
        """What each chunk is on a link."""
        if self.call.operation is Operation.BARRIER:
            return (BARRIER_TOKEN_BYTES,) * self.schedule.num_chunks
        unit_bytes = self.call.wire_unit_bytes
        return tuple(items * unit_bytes for items in self.chunk_items)

    @property
    def sums(self) -> dict[int, Sum]:
        """How each chunk that this chip ends with is added up, by positions."""
        return self.schedule.contributions[self.position]

    @cached_property
    def bytes_sent(self) -> int:
        """What this chip sends in all."""
        return sum(
            self.chunk_bytes[step.chunk]
            for steps in self.schedule.rounds
            for step in steps
            if step.src == self.position
        )

    def exit_ps(self, sim_entry_ps: tuple[int, ...]) -> int:
        """When this chip is done, if the positions enter at `sim_entry_ps` (simulated ps)."""
        return self.exits_ps(sim_entry_ps)[self.position]

    def exits_ps(self, sim_entry_ps: tuple[int, ...]) -> tuple[int, ...]:
        """When each position is done."""
        if self.call.operation is Operation.BARRIER:
            first = min(sim_entry_ps)
            entries = tuple([entry - first for entry in sim_entry_ps])
        else:  # it begins when the last one is there: only that time counts
            first, entries = max(sim_entry_ps), (0,) * len(sim_entry_ps)
        return tuple([first + exit_ps for exit_ps in _timing(self, entries).sim_exit_ps])

    @cached_property
    def sim_together_ps(self) -> int:
        """What it takes when all chips enter together, until this chip is done."""
        return self.exit_ps((0,) * self.num_ranks)

    @cached_property
    def sim_whole_ps(self) -> int:
        """What it takes when all chips enter together, until the last one is done."""
        return max(_timing(self, (0,) * self.num_ranks).sim_exit_ps)

    @property
    def traffic(self) -> Traffic:
        """Bytes and messages that this chip sends over each link; no entry time changes them."""
        return self.traffic_of_all[self.position]

    @cached_property
    def traffic_of_all(self) -> tuple[Traffic, ...]:
        """The traffic that each position causes."""
        return _timing(self, (0,) * self.num_ranks).traffic


@lru_cache(maxsize=MOST_PLANS)
def make_plan(
    box: Box, rank: int, call: Call, algorithm: Algorithm, costs: CollectiveCosts | None = None
) -> Plan:
    """The plan of `call` on chip `rank` of `box`, by a certain algorithm.

    Args:
        costs: other than those of the box.
    Raises:
        ChunkError: a dim that the tensor does not have.
        CollectiveError: the root is not in the group, or sizes that do not fit the shape.
        AlgorithmError: the algorithm cannot do this on these chips.
    """
    check_call(call, rank)
    order, team = stand_or_fail(box, call.ranks, algorithm, call.operation.label)
    root = order.index(call.root) if call.operation.has_root else 0
    schedule = algorithm.schedule(call.operation, team, root)
    if call.rounds_on_wire and schedule.adds_to_copies:
        raise AlgorithmError(
            algorithm.name,
            call.operation.label,
            "it adds to what was copied, so a wire dtype would round in an order of its own",
        )
    if call.algorithm == algorithm.name and algorithms().get(algorithm.name) is not algorithm:
        # Of a user's own, the name says little: chips must not mix the steps of two.
        call = replace(call, algorithm=f"{algorithm.name} (steps {schedule.fingerprint})")
    return Plan(call, box, order, order.index(rank), schedule, costs or costs_of(box))


@lru_cache(maxsize=MOST_PLANS)
def _timing(plan: Plan, sim_entry_ps: tuple[int, ...]) -> Timing:
    if plan.num_ranks == 1:  # nobody to meet, nothing to send: software leaves such a call out
        return Timing((0,), (), ())
    return simulate(plan.schedule, plan.box, plan.order, plan.chunk_bytes, sim_entry_ps, plan.costs)


def _with(shape: Shape, dim: int, size: int) -> Shape:
    return (*shape[:dim], size, *shape[dim + 1 :])
