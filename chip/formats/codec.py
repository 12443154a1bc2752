"""Numbers to and from their storage in each format.

Three levels: `encode` and `decode` (any numpy array, and what a user sees of it), `unpack` and
`pack` (what ops compute with: float32, bfloat16 words, int32 or uint32, and storage).
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..dtype import BLOCK, FOREIGN_FLOATS, BlockFloat, DType
from ..errors import DTypeError
from . import loops, plain
from .rounding import Rounding, round_away, round_tf32

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Shape = tuple[int, ...]

_MODES = {
    Rounding.NEAREST_EVEN: plain.EVEN,
    Rounding.PACKER: plain.AWAY,
    Rounding.PACKER_TWICE: plain.TWICE,
}


def encode(
    array: npt.ArrayLike, dtype: DType, rounding: Rounding | str = Rounding.NEAREST_EVEN
) -> Array:
    """The storage of an array in a number format, C-contiguous.

    A new array, unless the given one is just that already. bfloat16 and fp8_e4m3 arrays of
    ml_dtypes are read by their bits; so is a uint16 array for BFLOAT16 (words) and a uint8 array
    for FP8_E4M3 (codes). Other floats go by way of float32. With the rounding "truncate" floats
    become integers as ttnn's host has it: see `truncate`.

    Raises:
        DTypeError: floats for an integer format, or integers beyond its range.
        InvalidArgument: there is no such rounding, or not of this format.
    """
    rounding = Rounding.parse(rounding)
    rounding.check(dtype.is_float)
    given, source = _own(np.asarray(array))
    if source is dtype or (dtype in _BITS and given.dtype == _BITS[dtype]):
        return _contiguous(given)
    are_integers = source is None and given.dtype.kind in "iu"
    if not dtype.is_float and (are_integers or rounding is not Rounding.TRUNCATE):
        return _encode_integers(given, dtype, source)
    with np.errstate(all="ignore"):
        if source is not None:
            wide = decode(given, source)
        else:
            wide = _contiguous(given.astype(np.float32, copy=False))
    return pack(wide, dtype, rounding) if dtype.is_float else truncate(wide, dtype)


def decode(storage: Array, dtype: DType, shape: Shape | None = None) -> Array:
    """The values of a storage as a new array: float32 for all floats, else the integers.

    `shape` is the tensor's; a block float's rows do not tell their length, and None stands for
    whole blocks.
    """
    if not dtype.is_float or dtype.numpy == np.float32:
        return storage.copy()
    given = _contiguous(storage)
    if dtype.block:
        return _unpack_blocks(given, dtype.block, _shape_of(given, dtype, shape), np.float32)
    out = np.empty(given.shape, np.float32)
    _widen(given, dtype, out)
    return out


def unpack(storage: Array, dtype: DType, shape: Shape) -> Array:
    """What ops compute with, of a tensor of that shape: see `DType.computed_as`.

    As the chip's unpacker has it: block floats as bfloat16 words, small integers as 32-bit ones.
    The storage itself where it is that already.
    """
    if dtype.block:
        return _unpack_blocks(_contiguous(storage), dtype.block, shape, np.uint16)
    if dtype.computed_as.numpy == dtype.numpy:
        return storage
    if dtype.is_float:
        return decode(storage, dtype)
    return storage.astype(dtype.computed_as.numpy)


def pack(values: Array, dtype: DType, rounding: Rounding | str = Rounding.NEAREST_EVEN) -> Array:
    """The storage of float32 values or bfloat16 words (uint16), or of integers, which wrap."""
    rounding = Rounding.parse(rounding)
    values = _contiguous(values)
    if not dtype.is_float:
        return values.astype(dtype.numpy, copy=False)
    if dtype.block:
        return _pack_blocks(values, dtype, dtype.block, rounding)
    if values.dtype == np.uint16:
        if dtype is DType.BFLOAT16:
            return values
        values = decode(values, DType.BFLOAT16)
    if dtype is DType.FLOAT32:
        return values
    if rounding is not Rounding.NEAREST_EVEN:
        return _pack_away(values, dtype)
    if dtype is DType.TF32:
        return round_tf32(values)
    out = np.empty(values.shape, dtype.numpy)
    _round(values, dtype, out)
    return out


def truncate(values: Floats, dtype: DType) -> Array:
    """Floats to an integer format as ttnn's host has it (from_torch with such a dtype).

    Fractions are cut off. By way of int32, where NaN and what lies beyond become -2**31; then the
    small formats stop at the ends of their range. uint32 also takes 2**31 .. 2**32 - 1, and of
    negative numbers the bits of their int32.
    """
    beyond = np.float32(2.0**33)
    finite = np.where(np.isfinite(values), np.clip(values, -beyond, beyond), beyond)
    whole = np.trunc(finite).astype(np.int64)
    most = 2**32 if dtype is DType.UINT32 else 2**31
    whole[(whole < -(2**31)) | (whole >= most)] = -(2**31)
    if dtype in (DType.INT32, DType.UINT32):
        return whole.astype(dtype.numpy)
    bounds = np.iinfo(dtype.numpy)
    return np.clip(whole, bounds.min, bounds.max).astype(dtype.numpy)


def saturate(values: Floats, dtype: DType) -> Array:
    """Floats to an integer format as typecast has it: cut off, stop at the ends; NaN gives 0."""
    bounds = np.iinfo(dtype.numpy)
    whole = np.nan_to_num(values.astype(np.float64), nan=0.0)
    return np.clip(np.trunc(whole), bounds.min, bounds.max).astype(dtype.numpy)


def _own(given: Array) -> tuple[Array, DType | None]:
    """An array with a type that numpy itself has, and the format of its bits if it had not."""
    found = FOREIGN_FLOATS.get(given.dtype.name)
    if found is not None:
        return given.view(found.numpy), found
    if given.dtype.kind == "V" and given.dtype.name.startswith("float"):
        return given.astype(np.float32), None  # of ml_dtypes too, which knows how
    return given, None


_BITS = {DType.BFLOAT16: np.dtype(np.uint16), DType.FP8_E4M3: np.dtype(np.uint8)}


def _encode_integers(given: Array, dtype: DType, source: DType | None) -> Array:
    if source is not None or given.dtype.kind not in "iu":
        raise DTypeError(f"an array of {source or given.dtype} as {dtype} (expected integers)")
    bounds = np.iinfo(dtype.numpy)
    if given.size and (int(given.min()) < bounds.min or int(given.max()) > bounds.max):
        raise DTypeError(
            f"values {given.min()} .. {given.max()} as {dtype} ({bounds.min} .. {bounds.max})"
        )
    return _contiguous(given.astype(dtype.numpy, copy=False))


def _pack_blocks(values: Array, dtype: DType, block: BlockFloat, rounding: Rounding) -> Array:
    length = values.shape[-1] if values.ndim else 1
    out = np.empty(dtype.storage_shape(values.shape), np.uint8)
    loops.chosen.pack_blocks(values, out, length, *block, _MODES[rounding])
    return out


def _unpack_blocks(
    storage: Array, block: BlockFloat, shape: Shape, kind: type[np.generic]
) -> Array:
    out: Array = np.empty(shape, kind)
    loops.chosen.unpack_blocks(storage, out, shape[-1] if shape else 1, *block)
    return out


def _shape_of(storage: Array, dtype: DType, shape: Shape | None) -> Shape:
    if shape is not None:
        return shape
    assert dtype.block is not None
    return (*storage.shape[:-1], storage.shape[-1] // dtype.block.block_bytes * BLOCK)


def _pack_away(values: Floats, dtype: DType) -> Array:
    """As the packer rounds; formats without a shared exponent."""
    if dtype is DType.TF32:
        return round_away(values, 10)
    if dtype is DType.BFLOAT16:
        return (round_away(values, 7).view(np.uint32) >> 16).astype(np.uint16)
    fine = round_away(values, 10 if dtype is DType.FLOAT16 else 3)
    least = 2.0**-14 if dtype is DType.FLOAT16 else 2.0**-6
    return pack(np.where(np.abs(fine) < np.float32(least), np.float32(0), fine), dtype)


def _widen(storage: Array, dtype: DType, out: Floats) -> None:
    if dtype is DType.BFLOAT16:
        loops.chosen.widen(storage, out)
    elif dtype is DType.FLOAT16:
        loops.chosen.widen_half(storage.view(np.uint16), out)
    else:
        loops.chosen.widen_fp8(storage, out)


def _round(values: Floats, dtype: DType, out: Array) -> None:
    if dtype is DType.BFLOAT16:
        loops.chosen.round_words(values, out)
    elif dtype is DType.FLOAT16:
        loops.chosen.round_half(values, out.view(np.uint16))
    else:
        loops.chosen.round_fp8(values, out)


def _contiguous(array: Array) -> Array:
    # not np.ascontiguousarray, which turns a scalar into a vector
    return array if array.flags.c_contiguous else array.copy(order="C")
