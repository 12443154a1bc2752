"""The compiled loops in numpy: used where the extension is missing, and as its oracle in tests.

bfloat16 numbers are 16-bit words (`Words`); every sum and product is float32. Conversions, folds,
add, mul, the norms and rotaries give the same bits as the compiled loops: each float32 operation
and its order are defined (see lanes.h). `linear` and `attention` use numpy's matrix product, whose
order of summing is BLAS's own, and `softmax` numpy's exp, so they agree to float32 rounding only.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

AttentionShape = tuple[int, int, int, int, int, int, int]  # B, N, K, S, L, H, start

LANES = 16
SHARE = 16  # elements of a block float under one exponent
LEAST_EXPONENT = np.float32(-87.3)  # e to the power of less is a subnormal number: 0
BLOCK_BYTES = 1 << 20  # float32 bytes of weights widened at a time


def widen(words: Words, out: Floats) -> None:
    """Convert bfloat16 words to float32 (exact)."""
    bits = out.view(np.uint32)
    np.copyto(bits, words)
    np.left_shift(bits, 16, out=bits)


def round_words(x: Floats, out: Words) -> None:
    """Convert float32 to bfloat16 words: nearest, ties to even; every NaN becomes 0x7FC0."""
    bits = x.view(np.uint32)
    rounded = (bits + (np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1)))) >> 16
    out[...] = np.where(np.isnan(x), np.uint32(0x7FC0), rounded)


def add(a: Words, b: Words, out: Words) -> None:
    """Add bfloat16 words; `b` repeats along the leading dims of `a`."""
    with np.errstate(all="ignore"):
        round_words(_wide(a) + _wide(b), out)


def mul(a: Words, b: Words, out: Words) -> None:
    """Multiply bfloat16 words; `b` repeats along the leading dims of `a`."""
    with np.errstate(all="ignore"):
        round_words(_wide(a) * _wide(b), out)


def lookup(table: Words, x: Words, out: Words) -> None:
    """Apply a function of one bfloat16 number, given as a table of 65536 words."""
    np.take(table, x, out=out)


def fold(parts: Sequence[Array], out: Array, wide: bool) -> None:
    """Add the parts in the order given; words are rounded at every addition (`wide`: float32)."""
    with np.errstate(all="ignore"):
        if wide:
            total = parts[0].copy()
            for part in parts[1:]:
                total += part
            total[np.isnan(total)] = np.float32(np.nan)
            out[...] = total
            return
        rounded = np.empty_like(parts[0])
        round_words(_wide(parts[0]), rounded)
        for part in parts[1:]:
            round_words(_wide(rounded) + _wide(part), rounded)
        out[...] = rounded


def rms_norm(x: Words, weight: Floats, out: Words, eps: float) -> None:
    """Divide each row by its root mean square, multiply by the weight; rounded once."""
    with np.errstate(all="ignore"):
        rows = _wide(x).reshape(x.size // weight.size, weight.size)
        squares = sum_in_lanes(rows * rows)
        scale = np.float32(1) / np.sqrt(squares / np.float32(weight.size) + np.float32(eps))
        round_words((rows * scale[:, None] * weight).reshape(x.shape), out)


def sum_in_lanes(rows: Floats) -> Floats:
    """Sum each row [R, n] in the compiled order: lane i of 16 takes i, i+16, ...; then a tree."""
    num_rows, length = rows.shape
    steps = -(-length // LANES)
    padded = np.zeros((num_rows, steps * LANES), np.float32)
    padded[:, :length] = rows
    lanes = np.add.accumulate(padded.reshape(num_rows, steps, LANES), axis=1)[:, -1]
    for half in (8, 4, 2, 1):
        lanes = lanes[:, :half] + lanes[:, half:]
    return np.ascontiguousarray(lanes[:, 0])


def layer_norm(x: Words, weight: Floats, bias: Floats, out: Words, eps: float) -> None:
    """Subtract each row's mean, divide by its deviation; then weight and bias; rounded once."""
    with np.errstate(all="ignore"):
        rows, length = _wide(x).reshape(x.size // weight.size, weight.size), np.float32(weight.size)
        centred = rows - (sum_in_lanes(rows) / length)[:, None]
        scale = np.float32(1) / np.sqrt(sum_in_lanes(centred * centred) / length + np.float32(eps))
        round_words((centred * scale[:, None] * weight + bias).reshape(x.shape), out)


def softmax(x: Floats, out: Floats, n: int) -> None:
    """Softmax of each row of n; what is 87.3 below the largest, or more, gives 0."""
    with np.errstate(all="ignore"):
        rows = x.reshape(-1, n) if n else x.reshape(0, 1)
        below = rows - rows.max(axis=-1, keepdims=True)
        powers = np.where(below < LEAST_EXPONENT, np.float32(0), np.exp(below))
        out[...] = (powers / powers.sum(axis=-1, keepdims=True)).reshape(out.shape)


def rotary(x: Words, cosine: Floats, sine: Floats, out: Words, positions: int, width: int) -> None:
    """Rotate pairs (i, i + width/2) of x [..., positions, width]."""
    with np.errstate(all="ignore"):
        wide = _wide(x).reshape(x.size // (positions * width), positions, width)
        half = width // 2
        turned = np.concatenate((-wide[..., half:], wide[..., :half]), axis=-1)
        result = wide * cosine.reshape(positions, width) + turned * sine.reshape(positions, width)
        round_words(result.reshape(x.shape), out)


def rotary_pairs(
    x: Words, cosine: Floats, sine: Floats, out: Words, positions: int, width: int
) -> None:
    """Rotate pairs (2i, 2i + 1) of x [..., positions, width]."""
    with np.errstate(all="ignore"):
        wide = _wide(x).reshape(x.size // (positions * width), positions, width)
        turned = np.empty_like(wide)
        turned[..., 0::2], turned[..., 1::2] = -wide[..., 1::2], wide[..., 0::2]
        result = wide * cosine.reshape(positions, width) + turned * sine.reshape(positions, width)
        round_words(result.reshape(x.shape), out)


def unpack_blocks(blocks: Bytes, out: Words, k: int, bits: int) -> None:
    """Convert rows of block floats to words [rows, k] (k a multiple of 16; see `linear_block`)."""
    rows = out.size // k
    num_blocks = k // SHARE
    packed = blocks.reshape(rows, -1)
    exponents = packed[:, :num_blocks].astype(np.int32).repeat(SHARE, axis=1)
    signed = packed[:, num_blocks:].astype(np.int32)
    if bits == 4:
        signed = np.stack((signed & 15, signed >> 4), axis=-1).reshape(rows, k) << 4
        magnitudes, shift = signed >> 4 & 7, 2
    else:
        magnitudes, shift = signed & 127, 6
    words = (magnitudes.astype(np.float32).view(np.uint32) >> 16).astype(np.int32)
    words += (exponents - (127 + shift)) * 128
    words[(magnitudes == 0) | (words < 128)] = 0  # zeros, and what would be denormals
    out[...] = (words | (signed & 128) << 8).astype(np.uint16).reshape(out.shape)


def linear(
    x: Array, weight: Array, bias: Floats | None, out: Array, m: int, n: int, k: int
) -> None:
    """out[M,N] = x[M,K] . weight[N,K]^T + bias[N], each words or float32."""
    with np.errstate(all="ignore"):
        rows = _wide(x).reshape(m, k)
        result = np.empty((m, n), np.float32)
        step = max(1, BLOCK_BYTES // (4 * k))
        flat_weight = weight.reshape(n, k)
        for first in range(0, n, step):
            block = _wide(flat_weight[first : first + step])
            result[:, first : first + step] = rows @ block.T
        if bias is not None:
            result += bias
        if out.dtype == np.uint16:
            round_words(result.reshape(out.shape), out)
        else:
            result[np.isnan(result)] = np.float32(np.nan)
            out[...] = result.reshape(out.shape)


def linear_block(
    x: Array,
    weight: Bytes,
    bits: int,
    bias: Floats | None,
    out: Array,
    m: int,
    n: int,
    k: int,
) -> None:
    """linear with weights of block floats (bits 8 or 4), uint8 [N, B + B * block_bytes].

    B = ceil(K / 16): first the exponent bytes of a row (biased by 127, one for 16 elements), then
    signed magnitudes. 8 bits: a byte each, magnitude / 64 * 2**(E - 127). 4 bits: two to a byte,
    the even element low, magnitude / 4 * 2**(E - 127). The bits are those of the product with the
    unpacked words; numbers below 2**-126 count as zero.
    """
    padded = -(-k // SHARE) * SHARE
    words = np.empty((n, padded), np.uint16)
    unpack_blocks(weight, words, padded, bits)
    linear(x, words[:, :k], bias, out, m, n, k)


def attention(
    q: Array, k: Array, v: Array, out: Array, shape: AttentionShape, scale: float
) -> None:
    """Causal attention; shape = (B, N heads, K kv heads, S, capacity L, H, start).

    Query i of q [B,N,S,H] sees keys 0 .. start+i of k, v [B,K,L,H]; words or float32; softmax in
    float32. One key-value head at a time, which bounds the memory of the scores.
    """
    batch, heads, kv_heads, positions, capacity, width, start = shape
    seen = start + positions
    rows = heads // kv_heads * positions
    hidden = np.arange(seen) > start + np.arange(rows)[:, None] % positions
    q_of, out_of = (x.reshape(batch * kv_heads, rows, width) for x in (q, out))
    k_of, v_of = (x.reshape(batch * kv_heads, capacity, width)[:, :seen] for x in (k, v))
    with np.errstate(all="ignore"):
        for head in range(batch * kv_heads):
            scores: Floats = (_wide(q_of[head]) @ _wide(k_of[head]).T) * np.float32(scale)
            scores[hidden] = -np.inf
            scores -= scores.max(axis=-1, keepdims=True, initial=-np.inf)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed: Floats = scores @ _wide(v_of[head])
            if out.dtype == np.uint16:
                round_words(mixed, out_of[head])
            else:
                out_of[head] = mixed


def _wide(x: Array) -> Floats:
    if x.dtype != np.uint16:
        return x
    out = np.empty(x.shape, np.float32)
    widen(x, out)
    return out
