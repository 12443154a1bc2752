"""Products of words: every instruction set has the bits of one model."""

import importlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip import kernels

from .words import ISAS, any_words, model_linear, random_words, to_words

SHAPES = [
    (1, 4, 32),
    (1, 9, 96),
    (1, 3, 31),
    (1, 131, 609),
    (2, 5, 576),
    (5, 70, 33),
    (8, 7, 1),
    (13, 130, 64),
    (57, 6, 4800),
]
"""M, N, K: with and without a last part of a step, of a tile, of a span of 64 columns; the last has
a second pass over rows."""


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
def test_a_product_has_the_bits_of_the_model(core: Any, m: int, n: int, k: int) -> None:
    x, weight = random_words((m, k), 1), random_words((n, k), 2)
    bias = np.random.default_rng(3).standard_normal(n).astype(np.float32)
    out, words = np.empty((m, n), np.float32), np.empty((m, n), np.uint16)
    core.linear(x, weight, bias, out, m, n, k)
    expected = model_linear(x, weight, bias)
    assert out.tobytes() == expected.tobytes()
    core.linear(x, weight, bias, words, m, n, k)
    assert words.tobytes() == to_words(expected).tobytes()


def test_a_product_of_any_bits_has_the_bits_of_the_model(core: Any) -> None:
    """Infinities, NaN, denormals; sums that overflow or vanish."""
    for seed in range(20):
        x, weight = any_words((5, 64), seed), any_words((6, 64), 100 + seed)
        out = np.empty((5, 6), np.float32)
        core.linear(x, weight, None, out, 5, 6, 64)
        assert out.tobytes() == model_linear(x, weight).tobytes()


@pytest.mark.parametrize("exponent", [1, 30, 58, 62, 63, 64, 66])
def test_products_at_the_edge_of_denormals_have_the_bits_of_the_model(
    core: Any, exponent: int
) -> None:
    """Exponents of two factors that meet about 2**-126, where products and sums turn to zero."""
    rng = np.random.default_rng(exponent)
    fields = rng.integers(max(0, exponent - 3), exponent + 3, (2, 6, 320))
    bits = rng.integers(0, 1 << 16, fields.shape) & 0x807F | fields << 7
    x, weight = bits.astype(np.uint16)
    out = np.empty((6, 6), np.float32)
    core.linear(x, weight, None, out, 6, 6, 320)
    assert out.tobytes() == model_linear(x, weight).tobytes()


@pytest.mark.skipif(not kernels.COMPILED, reason="the compiled core is not built")
@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 12), st.integers(1, 150), st.integers(0, 1000))
def test_any_shape_has_the_bits_of_the_model_on_every_instruction_set(
    m: int, n: int, k: int, seed: int
) -> None:
    core = importlib.import_module("meshtwin.chip.kernels._core")
    best = core.isa()
    x, weight = random_words((m, k), seed), random_words((n, k), seed + 1)
    expected = model_linear(x, weight).tobytes()
    for isa in ISAS[ISAS.index(best) :]:
        core.use_isa(isa)
        out = np.empty((m, n), np.float32)
        core.linear(x, weight, None, out, m, n, k)
        core.use_isa(best)
        assert out.tobytes() == expected, isa


def test_a_product_leaves_the_treatment_of_denormals_as_it_was(core: Any) -> None:
    x = random_words((4, 64), 1)
    core.linear(x, x, None, np.empty((4, 4), np.float32), 4, 4, 64)
    assert float(np.float32(1e-40) * np.float32(1)) > 0
