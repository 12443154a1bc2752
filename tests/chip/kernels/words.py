"""Words to test with, and the compiled product of words as a model in float64."""

from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.chip.kernels import plain

Array = npt.NDArray[Any]
ISAS = ["avx512bf16", "avx512", "avx2", "portable"]


def random_words(shape: tuple[int, ...], seed: int, spread: int = 4) -> Array:
    """bfloat16 words of normal numbers with exponents around 1."""
    rng = np.random.default_rng(seed)
    scale = np.exp2(rng.integers(-spread, spread, shape))
    return to_words((rng.standard_normal(shape) * scale).astype(np.float32))


def any_words(shape: tuple[int, ...], seed: int) -> Array:
    """Any bits at all: NaN, infinities, denormals."""
    return np.random.default_rng(seed).integers(0, 1 << 16, shape, dtype=np.uint16)


def to_words(x: Array) -> Array:
    out = np.empty(x.shape, np.uint16)
    plain.round_words(x, out)
    return out


def to_float64(words: Array) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # NaN that signal
        out: npt.NDArray[np.float64] = (
            (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
        )
    return out


def flush(x: Array) -> Array:
    """Denormals of float32 as zeros of their sign."""
    return np.where(np.abs(x) < 2.0**-126, np.copysign(x.dtype.type(0), x), x)


def model_linear(x: Array, weight: Array, bias: Array | None = None) -> npt.NDArray[np.float32]:
    """x [M,K] . weight [N,K]^T of words, sum by sum as lanes.h says; float32 [M,N].

    A product of words is exact in float64, and its sum with a float32 number rounds to float32 in
    two steps as in one.
    """
    k = x.shape[1]
    padding = ((0, 0), (0, -k % 32))
    wide_x, wide_w = (flush(to_float64(np.pad(words, padding))) for words in (x, weight))
    lanes = np.zeros((len(x), len(weight), 16), np.float32)
    with np.errstate(all="ignore"):
        for step in range(0, wide_x.shape[1], 32):
            for odd in (1, 0):
                taken = slice(step + odd, step + 32, 2)
                products = wide_x[:, None, taken] * wide_w[None, :, taken]
                lanes = flush((lanes.astype(np.float64) + products).astype(np.float32))
        for half in (8, 4, 2, 1):
            lanes = flush(lanes[..., :half] + lanes[..., half:])
        sums = lanes[..., 0] if bias is None else flush(lanes[..., 0] + bias)
    return np.where(np.isnan(sums), np.float32(np.nan), sums)
