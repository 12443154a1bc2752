"""Block floats: unpacked and multiplied, against numbers worked out one by one."""

from typing import Any

import numpy as np
import pytest

from meshtwin.chip.kernels import plain

from .words import Array, any_words, model_linear, random_words, to_float64, to_words

SHIFT = {8: 6, 4: 2}


def any_blocks(rows: int, k: int, bits: int, seed: int, low: int = 100, high: int = 140) -> Array:
    """Rows of block floats with exponents low .. high and any mantissas."""
    rng = np.random.default_rng(seed)
    blocks = -(-k // 16)
    exponents = rng.integers(low, high + 1, (rows, blocks), dtype=np.uint8)
    mantissas = rng.integers(0, 256, (rows, blocks * 2 * bits), dtype=np.uint8)
    return np.hstack((exponents, mantissas))


def values(packed: Array, k: int, bits: int) -> Array:
    """The numbers of rows of block floats in float64, one by one."""
    blocks = -(-k // 16)
    out = np.zeros((len(packed), blocks * 16))
    for row, index in np.ndindex(out.shape):
        if bits == 8:
            signed = int(packed[row, blocks + index])
        else:
            signed = int(packed[row, blocks + index // 2]) >> 4 * (index % 2) & 15
        sign, magnitude = signed >> (bits - 1), signed & (1 << (bits - 1)) - 1
        value = magnitude * 2.0 ** (int(packed[row, index // 16]) - 127 - SHIFT[bits])
        out[row, index] = -value if sign else value
    return out[:, :k]


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("low", "high"), [(100, 140), (0, 20), (230, 254)])
def test_blocks_become_the_words_of_their_values(core: Any, bits: int, low: int, high: int) -> None:
    packed = any_blocks(7, 96, bits, 1, low, high)
    exact = values(packed, 96, bits)
    exact[np.abs(exact) < 2.0**-126] *= 0  # as zeros of their sign
    for module in (core, plain):
        out = np.empty((7, 96), np.uint16)
        module.unpack_blocks(packed, out, 96, bits)
        assert to_float64(out).tolist() == exact.tolist()
        assert np.signbit(to_float64(out)).tolist() == np.signbit(exact).tolist()


@pytest.mark.parametrize("bits", [8, 4])
def test_every_exponent_and_mantissa_unpacks_alike(core: Any, bits: int) -> None:
    packed = any_blocks(256, 256, bits, 3)
    packed[:, :16] = np.arange(256, dtype=np.uint8)[:, None]
    packed[:, 16:] = np.arange(32 * bits, dtype=np.uint8)
    compiled, expected = np.empty((256, 256), np.uint16), np.empty((256, 256), np.uint16)
    core.unpack_blocks(packed, compiled, 256, bits)
    plain.unpack_blocks(packed, expected, 256, bits)
    assert compiled.tolist() == expected.tolist()


SHAPES = [(1, 8, 64), (1, 7, 576), (3, 5, 96), (1, 4, 32), (1, 6, 48), (2, 3, 50), (9, 70, 320)]


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("low", "high"), [(110, 130), (0, 255)], ids=["usual", "all exponents"])
def test_a_product_with_blocks_has_the_bits_of_the_product_with_their_words(
    core: Any, m: int, n: int, k: int, bits: int, low: int, high: int
) -> None:
    x = random_words((m, k), 1) if high < 255 else any_words((m, k), 1)
    packed = any_blocks(n, k, bits, 2, low, high)
    padded = -(-k // 16) * 16
    words = np.empty((n, padded), np.uint16)
    plain.unpack_blocks(packed, words, padded, bits)
    bias = np.random.default_rng(3).standard_normal(n).astype(np.float32)
    weight = np.ascontiguousarray(words[:, :k])
    expected, out = np.empty((m, n), np.float32), np.empty((m, n), np.float32)
    core.linear(x, weight, bias, expected, m, n, k)
    assert expected.tobytes() == model_linear(x, weight, bias).tobytes()
    core.linear_block(x, packed, bits, bias, out, m, n, k)
    if high < 255 or k % 16 == 0:  # an infinity in the padding meets a zero
        assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("k", [32, 576, 1088, 2080])
@pytest.mark.parametrize(
    "special", [[], [0], [0x8000], [0x0040], [0x0100], [0x7E00], [0x7F80]], ids=lambda s: f"x{s}"
)
def test_one_row_has_the_bits_of_the_model_whatever_numbers_are_among_the_usual_ones(
    core: Any, k: int, bits: int, special: list[int]
) -> None:
    """In x: zeros, denormals, small and large; in rows of w: exponents 0 to 9, 254 and 255."""
    n = 15
    x, packed = random_words((1, k), k), any_blocks(n, k, bits, 2, 110, 130)
    x[0, 5 : 5 + len(special)] = special
    packed[2:14, k // 32] = [*range(10), 254, 255]
    packed[14, k // 16 :] = 0x80 if bits == 8 else 0x88  # zeros with a sign
    words = np.empty((n, k), np.uint16)
    plain.unpack_blocks(packed, words, k, bits)
    out = np.empty((1, n), np.float32)
    core.linear_block(x, packed, bits, None, out, 1, n, k)
    assert out.tobytes() == model_linear(x, words).tobytes()


@pytest.mark.parametrize("bits", [8, 4])
def test_rows_of_float32_meet_blocks_too(core: Any, bits: int) -> None:
    x = np.random.default_rng(1).standard_normal((5, 80)).astype(np.float32)
    packed = any_blocks(9, 80, bits, 2)
    exact = x.astype(np.float64) @ values(packed, 80, bits).T
    size = np.abs(x.astype(np.float64)) @ np.abs(values(packed, 80, bits)).T
    for module in (core, plain):
        out, words = np.empty((5, 9), np.float32), np.empty((5, 9), np.uint16)
        module.linear_block(x, packed, bits, None, out, 5, 9, 80)
        assert np.all(np.abs(out - exact) <= size * 2.0**-20)
        module.linear_block(x, packed, bits, None, words, 5, 9, 80)
        assert words.tolist() == to_words(out).tolist()


def test_blocks_of_the_wrong_size_are_refused(core: Any) -> None:
    x, out = np.zeros((1, 32), np.uint16), np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="expected 8 or 4"):
        core.linear_block(x, np.zeros(68, np.uint8), 2, None, out, 1, 2, 32)
    with pytest.raises(ValueError, match="bytes of weight"):
        core.linear_block(x, np.zeros(67, np.uint8), 8, None, out, 1, 2, 32)
    with pytest.raises(ValueError, match="bytes of blocks"):
        core.unpack_blocks(np.zeros(67, np.uint8), np.zeros((2, 32), np.uint16), 32, 8)
    with pytest.raises(ValueError, match="left over"):
        core.unpack_blocks(np.zeros(67, np.uint8), np.zeros((2, 30), np.uint16), 30, 8)
