"""What a plan comes to in shared memory: which bytes of whose tensors go where, added how.

Chips that see each other's tensors need no messages. Each computes its share of the result from
everybody's inputs, in the order that the schedule fixes, and writes it into the results of all that
want it. A run is a few rows of bytes that lie alike in a tensor of each member and in the result.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..chip.dtype import BLOCK
from .cut import Region, split_sizes, stretches, units
from .operation import Operation
from .plan import Plan
from .program import Program, is_shared, program_of

CACHE_LINE_BYTES = 64


class Run(NamedTuple):
    """`rows` of `num_bytes`; offsets and strides in bytes, in an input and in a result.

    `which` is the member whose input is copied, or -1 - p: stack program p makes it of all inputs.
    """

    which: int
    rows: int
    num_bytes: int
    in_offset: int
    in_stride: int
    out_offset: int
    out_stride: int


@dataclass(frozen=True)
class Movement:
    """How one chip takes part: alone for its own result, or for its share of everybody's.

    `all_runs` make the whole of this chip's result. `shared_runs` make this chip's share, for the
    results of the members `targets` (indices into the ascending ranks).
    """

    programs: tuple[Program, ...]
    all_runs: tuple[Run, ...]
    shared_runs: tuple[Run, ...]
    targets: tuple[int, ...]


def movement_of(plan: Plan) -> Movement:
    """The runs of a plan."""
    programs: dict[Program, int] = {}
    own = plan.index_of[plan.position]
    everything = tuple(_whole_result(plan, programs))
    shared = everything
    targets: tuple[int, ...] = () if plan.ends_with_nothing else (own,)
    operation = plan.call.operation
    if operation in (Operation.ALL_REDUCE, Operation.REDUCE) and is_shared(plan):
        shared = tuple(_share(plan, programs))
        targets = tuple(range(plan.num_ranks))
        if operation is Operation.REDUCE:
            targets = (plan.call.ranks.index(plan.call.root),)
    return Movement(tuple(programs), everything, shared, targets)


def _whole_result(plan: Plan, programs: dict[Program, int]) -> Iterator[Run]:
    schedule = plan.schedule
    parts = schedule.operation.parts_at_end(schedule.num_ranks, plan.position, schedule.root)
    for part in parts:
        chunks = schedule.chunks_of((part,))
        if not schedule.operation.reduces:  # a part comes from one chip, in one piece
            which = _which(plan, chunks[0], programs)
            if plan.call.dtype.block:
                yield from _block_runs(plan, part, which)
            else:
                items = sum(plan.elements(chunk)[1] for chunk in chunks)
                yield from _runs(plan, plan.position, part, 0, items, which)
            continue
        for chunk in chunks:
            start, items = plan.elements(chunk)
            which = _which(plan, chunk, programs)
            yield from _runs(plan, plan.position, part, start, items, which)


def _share(plan: Plan, programs: dict[Program, int]) -> Iterator[Run]:
    """This chip's share of a tensor that is added up as a whole, in whole cache lines."""
    call, total = plan.call, math.prod(plan.call.shape)
    line = CACHE_LINE_BYTES // call.dtype.itemsize
    lines = split_sizes(-(-total // line), plan.num_ranks)
    own = plan.index_of[plan.position]
    first, last = sum(lines[:own]) * line, min(sum(lines[: own + 1]) * line, total)
    root = plan.schedule.root if call.operation is Operation.REDUCE else plan.position
    at_root = replace(plan, position=root)
    for chunk in range(plan.schedule.num_chunks):
        start, items = plan.elements(chunk)
        begin, end = max(first, start), min(last, start + items)
        if begin < end:
            which = _which(at_root, chunk, programs)
            yield from _runs(plan, root, 0, begin, end - begin, which)


def _which(plan: Plan, chunk: int, programs: dict[Program, int]) -> int:
    """The member to copy from, or the number of the program."""
    program = program_of(plan, chunk)
    if len(program) == 1:
        return program[0]
    return -1 - programs.setdefault(program, len(programs))


def _runs(
    plan: Plan, position: int, part: int, start: int, items: int, which: int
) -> Iterator[Run]:
    """Items of a part, as they lie in the inputs and in the result at a position."""
    size = plan.call.dtype.itemsize
    source, target = plan.source(part), plan.target(part, position)
    for stretch in stretches(source, target, start, items):
        yield Run(which, stretch.rows, *(size * count for count in stretch[1:]))


def _block_runs(plan: Plan, part: int, which: int) -> Iterator[Run]:
    """A part of a block float, which only moves: whole rows, or of each row two planes.

    A stored row is the exponents of its blocks, then their magnitudes.
    """
    block = plan.call.dtype.block
    assert block is not None
    source, target = plan.source(part), plan.target(part, plan.position)
    rows_are_whole = all(region.dim < len(region.shape) - 1 for region in (source, target))
    source, target = _in_blocks(source), _in_blocks(target)
    for stretch in stretches(source, target, 0, math.prod(source.part_shape)):
        if rows_are_whole:
            yield Run(which, stretch.rows, *(block.block_bytes * count for count in stretch[1:]))
            continue
        (read, in_exponents), (write, out_exponents) = (
            (divmod(at, region.shape[-1]), region.shape[-1])
            for region, at in ((source, stretch.in_offset), (target, stretch.out_offset))
        )
        for size, skips in ((1, 0), (block.mantissa_bytes, 1)):
            yield Run(
                which,
                stretch.rows,
                stretch.items * size,
                in_exponents * (read[0] * block.block_bytes + skips) + read[1] * size,
                stretch.in_stride * block.block_bytes,
                out_exponents * (write[0] * block.block_bytes + skips) + write[1] * size,
                stretch.out_stride * block.block_bytes,
            )


def _in_blocks(region: Region) -> Region:
    """A region of numbers as one of blocks."""
    shape = (*region.shape[:-1], units(region.shape, BLOCK))
    if region.dim < len(shape) - 1:
        return replace(region, shape=shape)
    end = -(-(region.start + region.size) // BLOCK)
    return Region(shape, region.dim, region.start // BLOCK, end - region.start // BLOCK)
