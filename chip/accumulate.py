"""How the products of a row and a column become one sum: whole, or in steps and blocks of K.

The accumulator (Dst) and partial sums in L1 hold float32 or bfloat16. As a model, since the matrix
unit's own order and rounding are not documented:

- accumulate="bfloat16": Dst is rounded to nearest even after each step of 32 products. (The chip
  adds 16 products at a time, and each fidelity phase on its own.)
- k_block: after each block of K but the last, Dst is packed to L1, to float32 if fp32_dest_acc,
  else to bfloat16. The next block starts from that partial sum; with packer_l1_acc it starts from
  nothing, and the packer adds it to what lies in L1. The last block starts from the partial sum.
"""

from collections.abc import Callable

import numpy as np

from . import kernels, special
from .compute_config import ComputeConfig, Rounding
from .tensor import Array, Floats

STEP = 32  # columns of a tile

Product = Callable[[int, int], Floats]  # float32 sums of the products start .. stop-1 of K


def summed(product: Product, length: int, config: ComputeConfig) -> Floats:
    """The sum of all products 0 .. length-1 as the config has them summed, in float32."""
    block = config.k_block or max(1, length)
    stored: Floats | None = None  # partial sums in L1
    for start in range(0, length - block, block):
        begin_with = None if config.packer_l1_acc else stored
        dest = _block_sum(product, start, start + block, begin_with, config)
        packed = dest if config.fp32_dest_acc else as_bfloat16(dest, config.rounding)
        if stored is None or not config.packer_l1_acc:
            stored = packed
        else:
            total = stored + packed
            stored = total if config.fp32_dest_acc else as_bfloat16(total)
    last = (max(1, length) - 1) // block * block
    return _block_sum(product, last, length, stored, config)


def _block_sum(
    product: Product, start: int, stop: int, begin_with: Floats | None, config: ComputeConfig
) -> Floats:
    """Dst after one block of K, on top of what it began with."""
    if config.accumulate == "float32":
        part = product(start, stop)
        return part if begin_with is None else begin_with + part
    dest = begin_with
    for first in range(start, max(stop, start + 1), STEP):
        part = product(first, min(first + STEP, stop))
        dest = as_bfloat16(part if dest is None else dest + part)
    assert dest is not None
    return dest


def rounded(sums: Floats, like: Array, rounding: Rounding) -> Array:
    """float32 sums in the format of `like`: bfloat16 words, or float32 as they are."""
    to_words = like.itemsize == 2
    if rounding == "packer":
        return special.pack(sums, to_words)
    if not to_words:
        return sums
    out = np.empty(sums.shape, np.uint16)
    kernels.round_words(np.asarray(sums, order="C"), out)
    return out


def as_bfloat16(sums: Floats, rounding: Rounding = "nearest_even") -> Floats:
    """float32 sums rounded to bfloat16, as float32 again."""
    out = np.empty(sums.shape, np.float32)
    kernels.widen(rounded(sums, np.empty(0, np.uint16), rounding), out)
    return out
