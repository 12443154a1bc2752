import math

import numpy as np
import pytest

from meshtwin.models.rope_scaling import Llama3Scaling
from meshtwin.models.rotary import inverse_frequencies, rotary_tables

from .tiny import tiny_config

LLAMA3 = Llama3Scaling(8.0, 1.0, 4.0, 8192)


def llama3_by_the_book(frequency: float, scaling: Llama3Scaling) -> float:
    """One frequency, in the words of Llama 3.1's reference code (apply_scaling)."""
    wavelength = 2 * math.pi / frequency
    if wavelength < scaling.original_max_position_embeddings / scaling.high_freq_factor:
        return frequency
    if wavelength > scaling.original_max_position_embeddings / scaling.low_freq_factor:
        return frequency / scaling.factor
    smooth = (scaling.original_max_position_embeddings / wavelength - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    return (1 - smooth) * frequency / scaling.factor + smooth * frequency


def test_tables_turn_a_pair_by_position_times_frequency() -> None:
    config = tiny_config(head_dim=64, rope_theta=100_000.0)
    cos_SH, sin_SH = rotary_tables(config, 50)
    assert cos_SH.shape == sin_SH.shape == (50, 64)
    assert cos_SH.dtype == sin_SH.dtype == np.float32
    angles = np.outer(np.arange(50), 100_000.0 ** (-np.arange(32) / 32))
    np.testing.assert_allclose(cos_SH, np.tile(np.cos(angles), 2), atol=1e-5)
    np.testing.assert_allclose(sin_SH, np.tile(np.sin(angles), 2), atol=1e-5)


def test_tables_reach_to_the_end_of_the_context_unless_told_otherwise() -> None:
    config = tiny_config()
    whole = rotary_tables(config)
    assert whole.cos_SH.shape == (64, 8)
    part = rotary_tables(config, 3, first_position=10)
    np.testing.assert_array_equal(part.cos_SH, whole.cos_SH[10:13])
    np.testing.assert_array_equal(part.sin_SH, whole.sin_SH[10:13])


def test_llama3_slows_low_frequencies_only() -> None:
    config = tiny_config(head_dim=128, rope_theta=500_000.0)
    scaled = inverse_frequencies(tiny_config(head_dim=128, rope_theta=5e5, rope_scaling=LLAMA3))
    plain = inverse_frequencies(config)
    expected = [llama3_by_the_book(float(frequency), LLAMA3) for frequency in plain]
    np.testing.assert_allclose(scaled, expected, rtol=1e-6)
    ratio = plain / scaled
    assert ratio[0] == 1
    assert ratio[-1] == 8
    assert ((ratio > 1) & (ratio < 8)).any()


def test_negative_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="first_position"):
        rotary_tables(tiny_config(), 4, first_position=-1)
