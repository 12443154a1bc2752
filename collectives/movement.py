"""What a plan comes to in shared memory: which bytes of whose tensors go where, added how.

Chips that see each other's tensors need no messages. Each computes its share of the result from
everybody's inputs, in the order that the schedule fixes, and writes it into the results of all that
want it. A run is a few rows of bytes that lie alike in a tensor of each member and in the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from .cut import split_sizes, stretches
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
            items = sum(plan.chunk_items[chunk] for chunk in chunks)
            yield from _runs(plan, plan.position, part, 0, items, _which(plan, chunks[0], programs))
            continue
        for chunk in chunks:
            start, items = plan.chunk_starts[chunk], plan.chunk_items[chunk]
            which = _which(plan, chunk, programs)
            yield from _runs(plan, plan.position, part, start, items, which)


def _share(plan: Plan, programs: dict[Program, int]) -> Iterator[Run]:
    """This chip's share of a tensor that is added up as a whole, in whole cache lines."""
    call, total = plan.call, sum(plan.chunk_items)
    line = CACHE_LINE_BYTES // call.dtype.itemsize
    lines = split_sizes(-(-total // line), plan.num_ranks)
    own = plan.index_of[plan.position]
    first, last = sum(lines[:own]) * line, min(sum(lines[: own + 1]) * line, total)
    root = plan.schedule.root if call.operation is Operation.REDUCE else plan.position
    at_root = replace(plan, position=root)
    for chunk, (start, items) in enumerate(zip(plan.chunk_starts, plan.chunk_items, strict=True)):
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
