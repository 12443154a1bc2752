"""Numbers at the edges as the chip has them: subnormals, -0, exponent 255; and the packer.

- Subnormal numbers are zero, going into the matrix and vector units and coming out.
- The matrix unit has no inf and no NaN: a float with exponent 255 is (1 + fraction) x 2^128. A
  result too large is the bit pattern of inf. So inf x 0 is 0, and inf - inf may be 0.
- The packer rounds to nearest, ties away from zero; subnormals and -0 become +0, NaN becomes inf.

Sources: tt-isa-documentation 39304719 FloatBitPatterns.md, MVMUL.md, Packers/FormatConversion.md;
tt-metal tech_reports/Handling_Special_Value/special_values.md 3197e638.
"""

import numpy as np
import numpy.typing as npt

from .tensor import Array, Floats

EXPONENT = np.uint32(0x7F800000)
FRACTION = np.uint32(0x007FFFFF)
SIGN = np.uint32(0x80000000)
TINY = np.finfo(np.float32).tiny


def flush(x: Array) -> Array:
    """x, bfloat16 words or float32, with subnormal numbers as zeros of their sign."""
    if x.dtype == np.uint16:
        return np.where(x & np.uint16(0x7F80), x, x & np.uint16(0x8000))
    bits = np.ascontiguousarray(x).view(np.uint32)
    return np.where(bits & EXPONENT, bits, bits & SIGN).view(np.float32).reshape(x.shape)


def numbers(x: Floats) -> npt.NDArray[np.float64]:
    """What the matrix unit reads in each float32: exponent 255 is a number, a subnormal is 0."""
    bits = np.ascontiguousarray(x).view(np.uint32).reshape(x.shape)
    exponent = ((bits & EXPONENT) >> np.uint32(23)).astype(np.int32)
    size = np.ldexp(1 + (bits & FRACTION) * 2.0**-23, exponent - 127)
    size[exponent == 0] = 0
    return np.asarray(np.where(bits & SIGN, -size, size))


def saturate(values: npt.NDArray[np.float64]) -> Floats:
    """What the matrix unit writes for sums: inf where too large, +0 for -0 and subnormals."""
    with np.errstate(over="ignore", under="ignore"):
        result = values.astype(np.float32)
    result[np.abs(result) < TINY] = 0
    return result


def pack(x: Floats, to_words: bool) -> Array:
    """float32 as the packer writes it: bfloat16 words, or float32 as it is.

    Words are rounded to nearest with ties away from zero; subnormals and -0 become +0 and NaN
    becomes inf of its sign. float32 to float32 is no conversion, so nothing changes.
    """
    if not to_words:
        return x
    bits = np.ascontiguousarray(x).view(np.uint32)
    rounded = (bits + np.uint32(0x8000)) >> np.uint32(16)  # carries into the exponent as it should
    infinite = (bits & SIGN | EXPONENT) >> np.uint32(16)
    rounded = np.where((bits & EXPONENT) == EXPONENT, infinite, rounded)
    rounded = np.where(bits & EXPONENT, rounded, 0)
    return rounded.astype(np.uint16).reshape(x.shape)
