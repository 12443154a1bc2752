"""How far a number may be from another in a number format: units in the last place, overflow."""

from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.chip.dtype import DType

Array = npt.NDArray[Any]

BLOCK = 16  # elements of a row that share an exponent

FORMATS = {  # (bits after the leading one, exponent of the smallest normal number, the largest)
    "float32": (23, -126, 3.4028235e38),
    "tf32": (10, -126, 3.4e38),
    "bfloat16": (7, -126, 3.3895314e38),
    "float16": (10, -14, 65504.0),
    "fp8_e4m3": (3, -6, 448.0),  # less than 2**-6 is 0
}
BLOCKS = {  # (bits of a magnitude after the leading one of the largest element's, and as above)
    "bfp8_b": (6, -126, 3.3e38),
    "bfp4_b": (2, -126, 2.9e38),
    "bfp2_b": (0, -126, 1.7e38),
    "bfp8_a": (6, -14, 65024.0),
    "bfp4_a": (2, -14, 57344.0),
    "bfp2_a": (0, -14, 32768.0),
}


def bound(values: Array, dtype: DType, ulps: float) -> Array:
    """The distance of so many units in the last place of each value.

    The unit of a block format is that of the largest of the 16 elements that share an exponent. Its
    numbers may be one unit off, since what would round to the next power of two stays below; and
    they come by way of bfloat16, which is half a unit of that more. Beside an infinity or NaN,
    which they do not have, nothing is left of the others.
    """
    if dtype.label in BLOCKS:
        bits, least, largest = BLOCKS[dtype.label]
        size = np.where(np.isfinite(values), np.abs(values), largest)
        block = _unit(_largest_of_block(size), bits, least)
        # what is less than the smallest normal number may become that, or 0
        return max(ulps, 1) * block + 0.5 * _unit(size, 7, -126) + 2.0**least
    bits, least, largest = FORMATS[dtype.label]
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    distance = ulps * _unit(np.minimum(size, largest), bits, least)
    if dtype.label == "fp8_e4m3":
        distance = np.where(size < 2.0**least, 2.0**least, distance)
    return distance


def overflows(values: Array, got: Array, dtype: DType) -> Array:
    """Where the values are beyond the largest number of a format, and so is what came out.

    Block formats have neither infinity nor NaN: what comes out for these is free.
    """
    if dtype.label in BLOCKS:
        return ~(np.abs(values) <= BLOCKS[dtype.label][2])
    largest = FORMATS[dtype.label][2]
    return (np.abs(values) > largest) & ~(np.abs(got) < largest)


def _unit(size: Array, bits: int, least: int) -> Array:
    _, exponent = np.frexp(size)  # size = m * 2**exponent, 0.5 <= m < 1
    units: Array = np.ldexp(1.0, np.where(size > 0, np.maximum(exponent - 1, least), least) - bits)
    return units


def _largest_of_block(size: Array) -> Array:
    if not size.size:
        return size
    rows = size.reshape(-1, size.shape[-1] if size.ndim else 1)
    padded = np.zeros((len(rows), -(-rows.shape[1] // BLOCK) * BLOCK))
    padded[:, : rows.shape[1]] = rows
    largest = padded.reshape(len(rows), -1, BLOCK).max(axis=-1).repeat(BLOCK, axis=-1)
    return np.asarray(largest[:, : rows.shape[1]].reshape(size.shape))
