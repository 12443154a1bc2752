"""A plain number beside a tensor: which ones a number format takes, and how they are stored."""

import math

import numpy as np

from .. import kernels
from ..dtype import DType
from ..errors import InvalidArgument
from ..tensor import Array
from .shared import WORDS, quietly


def check_scalar(name: str, value: float, dtype: DType) -> None:
    """Raise InvalidArgument unless a format can hold the number: integers take whole ones only."""
    if dtype.is_float:
        return
    bounds = np.iinfo(dtype.numpy)
    if math.isnan(value) or value != min(max(value, bounds.min), bounds.max) or value % 1:
        nearest = 0 if math.isnan(value) else round(min(max(value, bounds.min), bounds.max))
        raise InvalidArgument(
            f"{name} (={value}) must be a whole number within {bounds.min} .. {bounds.max} with "
            f"{dtype} (nearest: {nearest})"
        )


@quietly
def stored_scalar(value: float, like: Array) -> Array:
    """The number as an element of `like` is stored: bfloat16 words, float32 or an integer.

    bfloat16 beside bfloat16: ttnn's binary ops hand a scalar to the kernel in the tensor's format
    (tt-metal binary_ng_utils.cpp, pack_scalar_runtime_arg).
    """
    if like.itemsize != 2:
        return np.asarray(value).astype(like.dtype)
    out = np.empty((), WORDS)
    kernels.round_words(np.asarray(value).astype(np.float32), out)
    return out
