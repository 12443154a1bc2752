"""Writing a safetensors file one tensor at a time, so that a large model needs little memory."""

import json
import math
import os
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

ITEM_BYTES = {"F32": 4, "BF16": 2}


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
    if dtype not in ITEM_BYTES:
        raise ValueError(f"dtype (={dtype!r}) must be one of {', '.join(ITEM_BYTES)}")
    with Path(path).open("wb") as file:
        file.write(_header(dtype, shapes))
        for (name, shape), array in zip(shapes.items(), arrays, strict=True):
            if array.shape != shape:
                raise ValueError(f"{name}: expected shape {list(shape)}, got {list(array.shape)}")
            stored = (
                round_to_bfloat16(array) if dtype == "BF16" else array.astype("<f4", copy=False)
            )
            file.write(np.ascontiguousarray(stored).data)
        file.flush()
        os.fsync(file.fileno())


def round_to_bfloat16(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bfloat16 words of float32 values, rounded to nearest even; NaN stays NaN (quiet)."""
    bits = np.ascontiguousarray(x, dtype=np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16
    # In a NaN that sum would carry into the exponent: cut it, and set the quiet bit.
    is_nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(is_nan, (bits >> 16) | np.uint32(0x40), rounded).astype(np.uint16)


def _header(dtype: str, shapes: Mapping[str, tuple[int, ...]]) -> bytes:
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins aligned, as the format recommends
    return struct.pack("<Q", len(text)) + text
