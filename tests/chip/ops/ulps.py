"""Units in the last place of each number format: how far apart its neighbouring numbers are."""

import re
from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.chip.dtype import DType

Array = npt.NDArray[Any]

BLOCK = 16  # elements of a row that share an exponent

MANTISSA_BITS = {  # (bits after the leading one, exponent of the smallest normal number)
    "float32": (23, -126),
    "tf32": (10, -126),
    "bfloat16": (7, -126),
    "float16": (10, -14),
    "fp8_e4m3": (3, -6),
}
BLOCK_BITS = {"8": 6, "4": 2, "2": 0}  # magnitude bits after the largest element's leading one


def unit(values: Array, dtype: DType) -> Array:
    """The distance of neighbouring numbers of a format around each value.

    For a block format: of the largest among the 16 elements that share an exponent.
    """
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    block = re.fullmatch(r"bfp(\d).*", dtype.label)
    if block is None:
        bits, least = MANTISSA_BITS[dtype.label]
    else:
        bits, least = BLOCK_BITS[block[1]], -126
        size = _largest_of_block(size)
    _, exponent = np.frexp(size)  # size = m * 2**exponent, 0.5 <= m < 1
    return np.ldexp(1.0, np.maximum(np.where(size > 0, exponent - 1, least), least) - bits)


def _largest_of_block(size: Array) -> Array:
    if not size.size:
        return size
    rows = size.reshape(-1, size.shape[-1] if size.ndim else 1)
    padded = np.zeros((len(rows), -(-rows.shape[1] // BLOCK) * BLOCK))
    padded[:, : rows.shape[1]] = rows
    largest = padded.reshape(len(rows), -1, BLOCK).max(axis=-1).repeat(BLOCK, axis=-1)
    return np.asarray(largest[:, : rows.shape[1]].reshape(size.shape))
