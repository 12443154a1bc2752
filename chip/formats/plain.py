"""The loops of convert.c in numpy: used where the extension is missing, and its oracle in tests.

Both give the same bits for any input bits. Arrays are C-contiguous; `out` has the right size.
bfloat16 and float16 numbers are their 16-bit words.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Words = npt.NDArray[np.uint16]
Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

BLOCK = 16
EVEN, AWAY, TWICE = 0, 1, 2  # roundings of pack_blocks; see rounding.py
OFFSET_A = 64  # of 5-bit exponents while they are worked on, so that 0 is left for zeros
CHUNK = 1 << 16  # elements converted at a time


def widen(words: Words, out: Floats) -> None:
    """bfloat16 words to float32 (exact)."""
    bits = out.view(np.uint32)
    np.copyto(bits, words)
    np.left_shift(bits, 16, out=bits)


def round_words(x: Floats, out: Words) -> None:
    """float32 to bfloat16 words: nearest, ties to even; every NaN becomes 0x7FC0."""
    bits = x.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1)))) >> 16
    out[...] = np.where(np.isnan(x), np.uint32(0x7FC0), rounded)


def widen_half(words: Words, out: Floats) -> None:
    """float16 words to float32 (exact); every NaN becomes 0x7FC00000."""
    with np.errstate(all="ignore"):
        np.copyto(out, words.view(np.float16))
    out[np.isnan(out)] = np.float32(np.nan)


def round_half(x: Floats, out: Words) -> None:
    """float32 to float16 words: nearest, ties to even; every NaN becomes 0x7E00."""
    with np.errstate(all="ignore"):
        rounded = x.astype(np.float16).view(np.uint16)
    out[...] = np.where(np.isnan(x), np.uint16(0x7E00), rounded)


def widen_fp8(codes: Bytes, out: Floats) -> None:
    """fp8_e4m3 codes to float32 (exact)."""
    np.take(_fp8_values(), codes, out=out)


def _fp8_values() -> Floats:
    code = np.arange(128, dtype=np.uint32)
    values = ((code << 20) + np.uint32(120 << 23)).view(np.float32)
    values[:8] = code[:8] * np.float32(2.0**-9)
    values[127] = np.nan
    return np.concatenate((values, -values))


def round_fp8(x: Floats, out: Bytes) -> None:
    """float32 to fp8_e4m3 codes: nearest, ties to even; stops at 448; every NaN becomes 0x7F.

    Below the smallest normal number, 2**-6, it gives a zero of the sign, as ttnn's host does.
    """
    bits = x.view(np.uint32)
    magnitude = bits & np.uint32(0x7FFFFFFF)
    rounded = (magnitude + (np.uint32(0x7FFFF) + ((magnitude >> 20) & np.uint32(1)))) >> 20
    code = np.minimum(rounded, np.uint32(0x43E)) - np.uint32(120 << 3)
    code[magnitude < 121 << 23] = 0
    out[...] = np.where(magnitude > 0x7F800000, np.uint32(0x7F), code | (bits >> 31 << 7))


def pack_blocks(
    x: Array, out: Bytes, length: int, magnitude_bits: int, exponent_bias: int, rounding: int
) -> None:
    """Rows of float32 or bfloat16 words to the rows of a block float (see DType).

    Args:
        x: [rows, length]; out: [rows, blocks * (1 + mantissa bytes of a block)].
        exponent_bias: 127, or 15 (exponent A).
        rounding: EVEN, AWAY or TWICE. NaN and infinity are numbers of exponent 255; denormals are
            zero; a magnitude of zero has no sign.
    """
    blocks = -(-length // BLOCK)
    rows = out.reshape(-1, blocks * (1 + 2 * (magnitude_bits + 1))) if blocks else out[:0]
    given = x.reshape(len(rows), length) if blocks else x[:0]
    step = max(1, CHUNK // max(1, length))
    for at in range(0, len(rows), step):
        part = given[at : at + step]
        bits: Array = np.zeros((len(part), blocks * BLOCK), np.uint32)
        bits[:, :length] = part if x.dtype == np.uint16 else part.view(np.uint32)
        if x.dtype == np.uint16:
            bits <<= 16
        bits = bits.reshape(-1, blocks, BLOCK)
        exponents, signed = _quantised(bits, magnitude_bits, exponent_bias == 15, rounding)
        rows[at : at + step, :blocks] = exponents
        rows[at : at + step, blocks:] = _joined(signed, magnitude_bits).reshape(len(part), -1)


def _quantised(bits: Array, magnitude_bits: int, is_a: bool, rounding: int) -> tuple[Array, Array]:
    """The exponents [..., blocks] and signed magnitudes [..., blocks, 16] of float32 bits."""
    if rounding == TWICE:
        bits = _to_e8m6(bits)
    if rounding != EVEN:
        bits = bits & np.uint32(0xFFFF0000)
    if is_a:
        bits = _to_exponent_a(bits, rounding)
    offset = OFFSET_A if is_a else 0
    kept = magnitude_bits if rounding == EVEN else 7
    exponent = (bits >> 23 & np.uint32(255)).astype(np.int32)
    highest = exponent.max(-1, keepdims=True)
    whole = np.where(exponent > 0, bits & np.uint32(0x7FFFFF) | np.uint32(0x800000), np.uint32(0))
    whole >>= np.minimum(highest - exponent, 31).astype(np.uint32)
    dropped = 24 - kept
    half = np.uint32(1 << (dropped - 1))
    if rounding == EVEN:
        rounded = (whole + (half - np.uint32(1) + (whole >> dropped & np.uint32(1)))) >> dropped
    else:
        rounded = (whole + half) >> dropped
    magnitude = np.minimum(rounded, np.uint32((1 << kept) - 1)) >> (kept - magnitude_bits)
    sign = np.where(magnitude > 0, bits >> 31 << magnitude_bits, np.uint32(0))
    return np.maximum(highest[..., 0] - offset, 0), (magnitude | sign).astype(np.uint8)


def _to_e8m6(bits: Array) -> Array:
    magnitude = bits & np.uint32(0x7FFFFFFF)
    rounded = np.minimum(
        magnitude + np.uint32(1 << 16) & np.uint32(0xFFFE0000), np.uint32(0x7F800000)
    )
    kept = rounded | bits & np.uint32(0x80000000)
    return np.where(magnitude < 0x00800000, np.uint32(0), kept)


def _to_exponent_a(bits: Array, rounding: int) -> Array:
    """Exponents as 5 bits + OFFSET_A; zeros keep exponent 0.

    Too large: the largest number. Too small: 2**-15, as ttnn's host has it; zero for the packer.
    """
    exponent = bits >> 23 & np.uint32(255)
    mantissa = np.where(exponent > 143, np.uint32(0x7FFFFF), bits & np.uint32(0x7FFFFF))
    mantissa = np.where(exponent < 112, np.uint32(0), mantissa)
    moved = np.clip(exponent, 112, 143) - np.uint32(112 - OFFSET_A)
    moved = np.where(exponent > (0 if rounding == EVEN else 112), moved, np.uint32(0))
    return bits & np.uint32(0x80000000) | moved << 23 | mantissa


def _joined(signed: Array, magnitude_bits: int) -> Bytes:
    """Signed magnitudes as bytes, the first element lowest."""
    width = magnitude_bits + 1
    split = signed.reshape(*signed.shape[:-1], -1, 8 // width)
    joined = np.zeros(split.shape[:-1], np.uint8)
    for place in range(8 // width):
        joined |= split[..., place] << np.uint8(place * width)
    return joined


def unpack_blocks(
    x: Bytes, out: Array, length: int, magnitude_bits: int, exponent_bias: int
) -> None:
    """Rows of a block float to float32 or bfloat16 words; the inverse of pack_blocks.

    Exponent 255 gives infinities and NaN, as the bits say (words: one NaN). A sign without a
    magnitude is -0 in float32, and 0xFF80 in words, as the chip's unpacker has it. What is too
    small for float32's exponents is a float32 denormal.
    """
    blocks = -(-length // BLOCK)
    if not blocks:
        return
    rows = x.reshape(-1, blocks * (1 + 2 * (magnitude_bits + 1)))
    result = out.reshape(len(rows), length)
    step = max(1, CHUNK // length)
    for at in range(0, len(rows), step):
        part = rows[at : at + step]
        signed = _split(part[:, blocks:], magnitude_bits).reshape(len(part), blocks, BLOCK)
        power = part[:, :blocks, None].astype(np.int32) - (exponent_bias + magnitude_bits - 1)
        bits: Array = _float_bits(signed, power, magnitude_bits)
        if out.dtype == np.uint16:
            bits = _as_words(bits, signed, magnitude_bits)
        result[at : at + step] = bits.reshape(len(part), -1)[:, :length].view(out.dtype)


def _split(joined: Bytes, magnitude_bits: int) -> Bytes:
    width = magnitude_bits + 1
    places = np.arange(8 // width, dtype=np.uint8) * np.uint8(width)
    return joined[..., None] >> places & np.uint8((1 << width) - 1)


def _float_bits(signed: Bytes, power: Array, magnitude_bits: int) -> Array:
    """The bits of magnitude * 2**power with the sign."""
    magnitude = (signed & np.uint8((1 << magnitude_bits) - 1)).astype(np.float32)
    bits = magnitude.view(np.uint32)
    exponent = (bits >> 23).astype(np.int32) + power
    with np.errstate(all="ignore"):
        scaled = np.ldexp(magnitude, power).astype(np.float32).view(np.uint32)
    within = (exponent >= 1) & (exponent <= 255) & (magnitude > 0)
    moved = exponent.astype(np.uint32) << 23 | bits & np.uint32(0x7FFFFF)
    sign = (signed >> magnitude_bits).astype(np.uint32) << 31
    result: Array = np.where(within, moved, scaled) | sign
    return result


def _as_words(bits: Array, signed: Bytes, magnitude_bits: int) -> Words:
    words = np.empty(bits.shape, np.uint16)
    round_words(bits.view(np.float32), words)
    words[signed == 1 << magnitude_bits] = 0xFF80
    return words
