"""Writing a safetensors file one tensor at a time, so that a large model needs little memory."""

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..chip.dtype import SAFETENSORS
from ..chip.tensor import encode

DTYPES = {word: SAFETENSORS[word] for word in ("F32", "BF16")}


def write_weights(
    path: str | Path,
    dtype: str,
    shapes: Mapping[str, tuple[int, ...]],
    arrays: Iterable[npt.NDArray[np.float32]],
) -> None:
    """Write float32 arrays as one safetensors file of F32 or BF16.

    Args:
        dtype: F32, or BF16, to which values are rounded to nearest even.
        shapes: the tensors' names and shapes, in the order in which `arrays` yields them.
        arrays: taken one by one; each is written before the next is asked for.
    Raises: ValueError where an array has another shape, or there are too few or too many.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype (={dtype!r}) must be one of {', '.join(DTYPES)}")
    with Path(path).open("wb") as file:
        file.write(_header(dtype, shapes))
        for (name, shape), array in zip(shapes.items(), arrays, strict=True):
            if array.shape != shape:
                raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")
            file.write(encode(array, DTYPES[dtype]).data)
        file.flush()
        os.fsync(file.fileno())


def _header(dtype: str, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * DTYPES[dtype].itemsize
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins aligned, as the format recommends
    return struct.pack("<Q", len(text)) + text
