"""How each chunk is added up, as a little stack program; and what a program makes of numpy arrays.

A program is a tuple of codes: m >= 0 pushes the value of member m (of the ascending ranks of the
group), COMBINE takes right and left from the stack and pushes left OP right, ROUND rounds the top
to the wire dtype, MEAN divides it by the number of members. bfloat16 and float16 are rounded at
every combination, as chunks that travel are. Block floats are unpacked to bfloat16, combined as
that, and packed again, every time.

Where block floats are (Call.unit), arrays are storage of shape [items, 16]: a row is a block.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..chip import kernels
from ..chip.dtype import BLOCK, DType
from ..chip.formats.codec import decode, encode, pack, unpack
from .call import Call
from .operation import Operation
from .plan import Plan
from .reduce_op import ReduceOp
from .schedule import Sum, same_sum

COMBINE, ROUND, MEAN = -1, -2, -3
LEAST_NORMAL = np.finfo(np.float32).tiny
Program: TypeAlias = tuple[int, ...]
Words: TypeAlias = NDArray[Any]


def program_of(plan: Plan, chunk: int) -> Program:
    """The program of a chunk that the plan's chip ends with."""
    call = plan.call
    codes: list[int] = []
    _emit(plan.sums[chunk], codes, plan.index_of, call)
    codes += final_codes(call)
    return tuple(codes)


def final_codes(call: Call) -> Program:
    """What is done to a value when it is complete.

    The result of a collective that leaves it on several chips is rounded to the wire dtype on all
    of them, also where it did not travel, so that all have the same.
    """
    ends_once = call.operation in (Operation.REDUCE_SCATTER, Operation.REDUCE)
    codes = (ROUND,) if call.rounds_on_wire and not ends_once else ()
    return (*codes, MEAN) if call.operation.reduces and call.op is ReduceOp.MEAN else codes


def is_shared(plan: Plan) -> bool:
    """Do all chips that end with a chunk have the same bits, so that one may compute it for all?"""
    exact = _is_exact(plan.call)
    first: dict[int, Sum] = {}
    for ends in plan.schedule.contributions:
        for chunk, how in ends.items():
            known = first.setdefault(chunk, how)
            if known is not how and not (known == how or (not exact and same_sum(known, how))):
                return False
    return True


def _is_exact(call: Call) -> bool:
    """Do the two sides of an addition matter? The sign of a zero in min and max, and rounding."""
    return call.rounds_on_wire or call.op in (ReduceOp.MIN, ReduceOp.MAX)


def _emit(how: Sum, codes: list[int], index_of: tuple[int, ...], call: Call) -> None:
    """Append the codes of a sum; where it does not matter, the longer side first: a lower stack."""
    if isinstance(how, int):
        codes.append(index_of[how])
        return
    received, own = how
    if isinstance(received, int) and not isinstance(own, int) and not _is_exact(call):
        received, own = own, received
    _emit(received, codes, index_of, call)
    if call.rounds_on_wire:
        codes.append(ROUND)
    _emit(own, codes, index_of, call)
    codes.append(COMBINE)


def evaluate(program: Program, values: Sequence[Words], call: Call) -> Words:
    """What a program makes of the values of the members (storage arrays of the call's dtype)."""
    stack: list[Words] = []
    for code in program:
        if code >= 0:
            stack.append(values[code])
        elif code == ROUND:
            stack.append(round_to_wire(stack.pop(), call))
        elif code == MEAN:
            stack.append(mean(stack.pop(), len(call.ranks), call.dtype))
        else:
            right, left = stack.pop(), stack.pop()
            stack.append(combine(left, right, call.op, call.dtype))
    (result,) = stack
    return result


def combine(left: Words, right: Words, op: ReduceOp, dtype: DType) -> Words:
    """left OP right, elementwise, rounded to the dtype."""
    if dtype.block:
        a, b = _unpacked(left, dtype), _unpacked(right, dtype)
        return pack(combine(a, b, op, DType.BFLOAT16), dtype)
    if op in (ReduceOp.SUM, ReduceOp.MEAN) and dtype is not DType.FLOAT16:
        return kernels.fold([left, right])
    a, b = _wide(left, dtype), _wide(right, dtype)
    with np.errstate(all="ignore"):
        if op is ReduceOp.MIN:
            wide = np.where((a < b) | (a != a), a, b)
        elif op is ReduceOp.MAX:
            wide = np.where((a > b) | (a != a), a, b)
        else:
            wide = a * b if op is ReduceOp.PROD else a + b
    if dtype is DType.FLOAT32 and op in (ReduceOp.MIN, ReduceOp.MAX):
        return wide  # they pass a NaN on as it is
    return _narrow(wide, dtype)


def mean(total: Words, num_ranks: int, dtype: DType) -> Words:
    """A sum divided by the number of chips, computed in float32."""
    if dtype.block:
        return pack(mean(_unpacked(total, dtype), num_ranks, DType.BFLOAT16), dtype)
    with np.errstate(all="ignore"):
        return _narrow(_wide(total, dtype) / np.float32(num_ranks), dtype)


def to_wire(words: Words, call: Call) -> Words:
    """Words as they travel."""
    if not call.rounds_on_wire:
        return words
    assert call.wire is not None
    values = decode(words, call.dtype)
    return encode(_one_nan(values) if call.wire.block else values, call.wire)


def from_wire(words: Words, call: Call) -> Words:
    """Words as they are kept, from what travelled."""
    if not call.rounds_on_wire:
        return words
    assert call.wire is not None
    values = decode(words, call.wire)
    return encode(_settled(values) if call.wire.block else values, call.dtype)


def round_to_wire(words: Words, call: Call) -> Words:
    """What is left of words that travelled."""
    return from_wire(to_wire(words, call), call)


def _settled(values: Words) -> Words:
    """What unpacks from block floats, such that packing it again changes nothing.

    Numbers too small for normal ones are zero, as they would be then; there is one NaN.
    """
    return _one_nan(np.where(np.abs(values) < LEAST_NORMAL, np.float32(0), values))


def _one_nan(values: Words) -> Words:
    return np.where(values != values, np.float32(np.nan), values)


def _unpacked(words: Words, dtype: DType) -> Words:
    return unpack(words, dtype, (len(words), BLOCK))


def _wide(words: Words, dtype: DType) -> Words:
    """The values to compute with: float32 for all floats."""
    return decode(words, dtype) if dtype.is_float else words


def _narrow(values: Words, dtype: DType) -> Words:
    if not dtype.is_float:
        return values
    if dtype is DType.FLOAT32:
        values = _one_nan(values)
    return encode(values, dtype)
