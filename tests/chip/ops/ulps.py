"""How far a number may be from another in a number format: units in the last place, overflow."""

import re
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
    "fp8_e4m3": (3, -6, 448.0),
}
BLOCK_BITS = {"8": 6, "4": 2, "2": 0}  # magnitude bits after the largest element's leading one


def bound(values: Array, dtype: DType, ulps: float) -> Array:
    """The distance of so many units in the last place of each value.

    The unit of a block format is that of the largest of the 16 elements that share an exponent; and
    its numbers come by way of bfloat16, which is half a unit of that more.
    """
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    block = re.fullmatch(r"bfp(\d).*", dtype.label)
    if block is None:
        bits, least, largest = FORMATS[dtype.label]
        return ulps * _unit(np.minimum(size, largest), bits, least)
    return ulps * _unit(_largest_of_block(size), BLOCK_BITS[block[1]], -126) + 0.5 * _unit(
        size, 7, -126
    )


def overflows(values: Array, dtype: DType) -> Array:
    """Where the values are beyond the largest number of a format."""
    largest = FORMATS.get(dtype.label, FORMATS["bfloat16"])[2]
    return np.abs(values) > largest


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
