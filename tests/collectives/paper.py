"""A schedule carried out on paper: float32 numbers, rounded by the formats' own conversions.

It knows nothing of stack programs, of storage, or of how parts lie in blocks of memory.
"""

from collections.abc import Sequence

import numpy as np

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.collectives.call import Call
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.plan import Plan
from meshtwin.collectives.reduce_op import ReduceOp
from meshtwin.collectives.schedule import StepKind

from .oracle import COMBINE

ROW = 16


def kept(values: np.ndarray, dtype: DType) -> np.ndarray:
    """What a format keeps of [rows, 16] numbers; of a block float, by way of bfloat16."""
    if dtype.block:
        values = decode(encode(values, DType.BFLOAT16), DType.BFLOAT16)
    return decode(encode(values, dtype), dtype)


def sent(values: np.ndarray, call: Call) -> np.ndarray:
    """What arrives of them."""
    if call.wire is None or call.rounding.value == "none":
        return values
    return kept(decode(encode(values, call.wire), call.wire), call.dtype)


def added(a: np.ndarray, b: np.ndarray, call: Call) -> np.ndarray:
    with np.errstate(all="ignore"):
        return kept(COMBINE[call.op.value](a, b), call.dtype)


def in_rows(part: np.ndarray) -> np.ndarray:
    """The 16s of each row of a part, the last one filled up with zeros."""
    part = part.reshape(1) if part.ndim == 0 else part
    short = -part.shape[-1] % ROW
    return np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, short)]).reshape(-1, ROW)


def results(plans: Sequence[Plan], arrays: Sequence[np.ndarray]) -> list[np.ndarray | None]:
    """What each chip ends with, by rank; `plans` and `arrays` (values) are by rank too."""
    plan, call = plans[0], plans[0].call
    schedule, order = plan.schedule, plan.order
    cut: dict[int, list[np.ndarray]] = {}  # by position: its chunks
    for position, rank in enumerate(order):
        array = arrays[call.ranks.index(rank)]
        cut[position] = []
        for part in range(schedule.num_parts):
            own = plan.source(part).index if array.ndim else ()
            rows = in_rows(array[own])
            if call.unit == 1:
                rows = array[own].reshape(-1)
            cut[position] += np.array_split(rows, schedule.pieces)
    state = {p: {c: cut[p][c] for c in schedule.chunks_at_start(p)} for p in cut}
    for steps in schedule.rounds:
        arrived = [sent(state[step.src][step.chunk], call) for step in steps]
        for step, value in zip(steps, arrived, strict=True):
            if step.kind is StepKind.REDUCE:
                value = added(value, state[step.dst][step.chunk], call)
            state[step.dst][step.chunk] = value
    by_rank = {rank: _result(plan, p, state[p]) for p, rank in enumerate(order)}
    return [by_rank[rank] for rank in call.ranks]


def _result(plan: Plan, position: int, chunks: dict[int, np.ndarray]) -> np.ndarray | None:
    call, schedule = plan.call, plan.schedule
    ends = schedule.chunks_at_end(position)
    if not ends:
        return None
    result = np.empty(plan.result_shape_at(position), np.float32)
    ends_once = call.operation in (Operation.REDUCE_SCATTER, Operation.REDUCE)
    for first in range(0, len(ends), schedule.pieces):
        pieces = [chunks[chunk] for chunk in ends[first : first + schedule.pieces]]
        rows = np.concatenate(pieces)
        rows = rows if ends_once else sent(rows, call)
        if call.operation.reduces and call.op is ReduceOp.MEAN:
            rows = kept(rows / np.float32(plan.num_ranks), call.dtype)
        part = ends[first] // schedule.pieces
        shape = plan.part_shape(part)
        if call.unit > 1:
            long = -(-(shape[-1] if shape else 1) // ROW) * ROW
            rows = rows.reshape(*shape[:-1], long)[..., : shape[-1] if shape else 1]
        values = rows.reshape(shape)
        if result.ndim:
            result[plan.target(part, position).index] = values
        else:
            result[...] = values
    return result
