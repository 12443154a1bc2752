"""The rotary embedding's cos and sin tables, in Hugging Face's half-rotation convention.

S: positions, H: head dim. Dims i and i + H/2 of a head turn together, so both halves of a
table row are equal. Everything is float32 in the order in which transformers computes it
(modeling_llama.LlamaRotaryEmbedding, modeling_rope_utils), so that tables agree to the last
bits: a frequency that is off by one bit shifts the angle at position 8000 by 0.0005.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .config import LlamaConfig, RopeScaling

Float32Array = npt.NDArray[np.float32]


class RotaryTables(NamedTuple):
    """cos and sin of every position's angles, both float32 [S, H]."""

    cos_SH: Float32Array
    sin_SH: Float32Array


def rotary_tables(
    config: LlamaConfig, num_positions: int | None = None, first_position: int = 0
) -> RotaryTables:
    """cos and sin for positions first_position .. first_position + num_positions - 1.

    Without num_positions: up to the end of the model's context.
    """
    if num_positions is None:
        num_positions = config.max_position_embeddings - first_position
    if num_positions < 0 or first_position < 0:
        raise ValueError(
            f"num_positions (={num_positions}) and first_position (={first_position}) must be >= 0"
        )
    positions = np.arange(first_position, first_position + num_positions, dtype=np.float32)
    angles = np.outer(positions, inverse_frequencies(config))
    angles_SH = np.concatenate([angles, angles], axis=1)
    return RotaryTables(np.cos(angles_SH), np.sin(angles_SH))


def inverse_frequencies(config: LlamaConfig) -> Float32Array:
    """Radians per position of each rotary pair, float32 [H/2], scaled where the config says so."""
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = np.float32(1) / np.float32(config.rope_theta) ** exponents
    if config.rope_scaling is None:
        return frequencies
    return _llama3(frequencies, config.rope_scaling)


def _llama3(frequencies: Float32Array, scaling: RopeScaling) -> Float32Array:
    """Divide the low frequencies by the factor, keep the high ones, blend those between."""
    wavelengths = np.float32(2 * math.pi) / frequencies
    context = np.float32(scaling.original_max_position_embeddings)
    low, high = np.float32(scaling.low_freq_factor), np.float32(scaling.high_freq_factor)
    slowed = frequencies / np.float32(scaling.factor)
    share = (context / wavelengths - low) / (high - low)
    blended = (np.float32(1) - share) * slowed + share * frequencies
    is_long = wavelengths > context / low
    is_short = wavelengths < context / high
    return np.where(is_long, slowed, np.where(is_short, frequencies, blended))
