"""Tensors as blocks of 16 elements of a row, which is how block floats travel.

A part of a tensor comes as the blocks of its rows, row after row: storage of shape [blocks, 16],
whatever the format. The last block of a row is filled up with zeros. A tensor that is a block float
itself is cut along its last dim between blocks only (see check.py), so no number is rounded.
"""

import math

import numpy as np

from ..chip.dtype import BLOCK, BlockFloat, DType
from .cut import Region, units
from .program import Words


def units_of(words: Words, dtype: DType, region: Region) -> Words:
    """The blocks of a part of a stored tensor, as storage of shape [blocks, 16]."""
    shape = region.part_shape
    rows, blocks = math.prod(shape[:-1]), units(shape, BLOCK)
    words = words.reshape(dtype.storage_shape(region.shape))
    if dtype.block is None:
        own = words[region.index].reshape(rows, shape[-1])
        whole = np.zeros((rows, blocks * BLOCK), words.dtype)
        whole[:, : shape[-1]] = own
        return whole.reshape(rows * blocks, BLOCK)
    exponents, magnitudes = (plane[at] for plane, at in _planes(words, dtype.block, region))
    return np.concatenate(
        (
            exponents.reshape(rows * blocks, 1),
            magnitudes.reshape(rows * blocks, dtype.block.mantissa_bytes),
        ),
        axis=1,
    )


def put_units(flat: Words, dtype: DType, result: Words, region: Region) -> None:
    """Put the blocks of a part in their place in a stored tensor: the inverse of `units_of`."""
    shape = region.part_shape
    result = result.reshape(dtype.storage_shape(region.shape))
    if dtype.block is None:
        rows = flat.reshape(math.prod(shape[:-1]), units(shape, BLOCK) * BLOCK)
        result[region.index] = rows[:, : shape[-1]].reshape(shape)
        return
    (exponents, at), (magnitudes, there) = _planes(result, dtype.block, region)
    exponents[at] = flat[:, 0].reshape(exponents[at].shape)
    magnitudes[there] = flat[:, 1:].reshape(magnitudes[there].shape)


def _planes(
    words: Words, block: BlockFloat, region: Region
) -> tuple[tuple[Words, tuple[slice, ...]], ...]:
    """The exponents and the magnitudes of a stored block float, each with the index of a part."""
    blocks = units(region.shape, BLOCK)
    planes = []
    for plane, size in ((words[..., :blocks], 1), (words[..., blocks:], block.mantissa_bytes)):
        index = region.index
        if region.dim == len(region.shape) - 1:
            first = region.start // BLOCK * size
            last = -(-(region.start + region.size) // BLOCK) * size
            index = (*index[:-1], slice(first, last))
        planes.append((plane, index))
    return tuple(planes)
