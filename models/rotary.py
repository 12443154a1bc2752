"""The rotary embedding's cos and sin tables, in Hugging Face's half-rotation convention.

S: positions, H: head dim. Dims i and i + H/2 of a head turn together, so both halves of a
table row are equal. Everything is float32 in the order in which transformers computes it
(modeling_llama.LlamaRotaryEmbedding, modeling_rope_utils), so that tables agree to the last
bits: a frequency that is off by one bit shifts the angle at position 8000 by 0.0005.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .config import DecoderConfig

Float32Array = npt.NDArray[np.float32]


class RotaryTables(NamedTuple):
    """cos and sin of every position's angles, both float32 [S, H]."""

    cos_SH: Float32Array
    sin_SH: Float32Array


def rotary_tables(
    config: DecoderConfig,
    num_positions: int | None = None,
    first_position: int = 0,
    is_local: bool = False,
) -> RotaryTables:
    """cos and sin for positions first_position .. first_position + num_positions - 1.

    Without num_positions: up to the end of the model's context. `is_local`: of the sliding layers,
    where they turn otherwise than the others.
    """
    if num_positions is None:
        num_positions = config.max_position_embeddings - first_position
    if num_positions < 0 or first_position < 0:
        raise ValueError(
            f"num_positions (={num_positions}) and first_position (={first_position}) must be >= 0"
        )
    positions = np.arange(first_position, first_position + num_positions, dtype=np.float32)
    angles = np.outer(positions, inverse_frequencies(config, is_local))
    angles_SH = np.concatenate([angles, angles], axis=1)
    cos_SH, sin_SH = np.cos(angles_SH), np.sin(angles_SH)
    if config.rope_scaling is None or _is_plain(config, is_local):
        return RotaryTables(cos_SH, sin_SH)
    factor = np.float32(config.rope_scaling.attention_factor)
    return RotaryTables(cos_SH * factor, sin_SH * factor)


def inverse_frequencies(config: DecoderConfig, is_local: bool = False) -> Float32Array:
    """Radians per position of each rotary pair, float32 [H/2], scaled where the config says so."""
    plain = _is_plain(config, is_local)
    theta = config.local_rope_theta if plain and config.local_rope_theta else config.rope_theta
    exponents = np.arange(0, config.head_dim, 2, dtype=np.float32) / np.float32(config.head_dim)
    frequencies = np.float32(1) / np.float32(theta) ** exponents
    if config.rope_scaling is None or plain:
        return frequencies
    return config.rope_scaling.stretch(frequencies, theta)


def _is_plain(config: DecoderConfig, is_local: bool) -> bool:
    """Whether these layers have a base of their own, which is never stretched."""
    return is_local and config.local_rope_theta is not None
