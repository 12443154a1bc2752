"""Which bits of its operands a fidelity multiplies: pairs of masked operands, summed.

The multiplier is 5 bits (SrcA) by 7 bits (SrcB), the hidden 1 included. In a matrix product the
first operand (in0: activations) is SrcB, the second (in1: weights) SrcA. An operand is cut, toward
zero, into an upper part and the part under it, and a phase multiplies one part of each:

    phase   SrcA (in1)                      SrcB (in0)
    0       upper: 4 bits of the fraction   upper: 6 bits
    1       lower: 3 of bfloat16, else 5    upper
    2       upper                           lower: 1 of bfloat16, else 4
    3       lower                           lower

LoFi is phase 0, HiFi2 phases 0 and 1, and so on. Phases that share a part are one product: (upper +
lower of SrcA) x upper of SrcB is HiFi2. Of TF32 and float16 the last of SrcA's ten bits is never
used; float32 is unpacked to TF32 by truncation.

Arrays are bfloat16 words (uint16) or float32; block floats come as the words they unpack to.
Source: tt-isa-documentation WormholeB0/TensixTile/TensixCoprocessor/SrcASrcB.md and ELWMUL.md
39304719 (SrcAFidelityBits, SrcBFidelityBits), which Blackhole's pages refer to.
"""

from typing import Literal

import numpy as np

from .compute_config import Fidelity
from .tensor import Array

Side = Literal["a", "b"]

# of the float32 view of a number; the upper halves are the masks of a bfloat16 word
UPPER = {"a": 0xFFF80000, "b": 0xFFFE0000}
WHOLE = {"a": 0xFFFFC000, "b": 0xFFFFE000}
EXPONENT = 0x7F800000


def operands(fidelity: Fidelity, in0: Array, in1: Array) -> tuple[tuple[Array, Array], ...]:
    """The pairs of arrays whose products, summed, are the product of in0 and in1: one or two pairs.

    An array of which every bit counts is given back as it is, not copied.
    """
    if fidelity is Fidelity.EXACT:
        return ((in0, in1),)
    if fidelity is Fidelity.LOFI:
        return ((upper(in0, "b"), upper(in1, "a")),)
    if fidelity is Fidelity.HIFI2:
        return ((upper(in0, "b"), whole(in1, "a")),)
    if fidelity is Fidelity.HIFI3:
        first = (upper(in0, "b"), whole(in1, "a"))
        return (first, (lower(in0, "b"), upper(in1, "a")))
    return ((whole(in0, "b"), whole(in1, "a")),)


def attention_operands(
    fidelity: Fidelity, q: Array, k: Array, v: Array
) -> tuple[Array, Array, Array]:
    """q, k and v of attention, masked: q is in0 of q.k^T, v is in1 of p.v, each in one product.

    The probabilities p (in0) are float32 within the kernel and stay whole, and HiFi3, a sum of two
    products, is taken as HiFi4: see docs/numerics.md.
    """
    if fidelity is Fidelity.EXACT:
        return q, k, v
    cut_q = upper if fidelity in (Fidelity.LOFI, Fidelity.HIFI2) else whole
    cut = upper if fidelity is Fidelity.LOFI else whole
    return cut_q(q, "b"), cut(k, "a"), cut(v, "a")


def upper(x: Array, side: Side) -> Array:
    """The bits that phase 0 sees: sign, exponent and 4 (a) or 6 (b) bits of the fraction."""
    return _mask(x, UPPER[side])


def whole(x: Array, side: Side) -> Array:
    """The bits that the phases see together: a word as it is; of float32 9 (a) or 10 (b) bits."""
    return _mask(x, WHOLE[side]) if x.dtype == np.float32 else x


def lower(x: Array, side: Side) -> Array:
    """What `whole` has and `upper` has not, exactly; 0 for inf and NaN, which `upper` carries."""
    if x.dtype == np.uint16:
        bits = x.astype(np.uint32) << np.uint32(16)
        return (_difference(bits, side).view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return _difference(np.ascontiguousarray(x).view(np.uint32), side).reshape(x.shape)


def _difference(bits: Array, side: Side) -> Array:
    kept = bits & np.uint32(WHOLE[side])
    with np.errstate(all="ignore"):
        rest = kept.view(np.float32) - (bits & np.uint32(UPPER[side])).view(np.float32)
    rest[(bits & np.uint32(EXPONENT)) == EXPONENT] = 0
    return np.asarray(rest)


def _mask(x: Array, mask: int) -> Array:
    if x.dtype == np.uint16:
        return np.asarray(x & np.uint16(mask >> 16))
    return np.asarray((x.view(np.uint32) & np.uint32(mask)).view(np.float32))
