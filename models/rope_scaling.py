"""How models stretch their rotary frequencies to longer contexts than they were trained on.

Each gives, for the plain frequencies of a model (radians per position of each rotary pair, float32
[H/2]), the stretched ones, and a factor for cos and sin. Everything is float32 in the order in
which transformers computes it (modeling_rope_utils), so that tables agree to the last bits.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Llama3Scaling:
    """Llama 3's stretch of the low rotary frequencies.

    Source: transformers, modeling_rope_utils._compute_llama3_parameters.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def __post_init__(self) -> None:
        _check_factor(self.factor, self.original_max_position_embeddings)
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor (={self.low_freq_factor}) must be > 0 and under "
                f"high_freq_factor (={self.high_freq_factor})"
            )

    @property
    def attention_factor(self) -> float:
        """What cos and sin are multiplied by."""
        return 1.0

    def stretch(self, frequencies: Float32Array, theta: float) -> Float32Array:
        """Divide the low frequencies by the factor, keep the high ones, blend those between."""
        wavelengths = np.float32(2 * math.pi) / frequencies
        context = np.float32(self.original_max_position_embeddings)
        low, high = np.float32(self.low_freq_factor), np.float32(self.high_freq_factor)
        slowed = frequencies / np.float32(self.factor)
        share = (context / wavelengths - low) / (high - low)
        blended = (np.float32(1) - share) * slowed + share * frequencies
        is_long = wavelengths > context / low
        is_short = wavelengths < context / high
        return np.where(is_long, slowed, np.where(is_short, frequencies, blended))


@dataclass(frozen=True, slots=True)
class LinearScaling:
    """All frequencies divided by one factor. Source: _compute_linear_scaling_rope_parameters."""

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    @property
    def attention_factor(self) -> float:
        """What cos and sin are multiplied by."""
        return 1.0

    def stretch(self, frequencies: Float32Array, theta: float) -> Float32Array:
        """Divide by the factor."""
        return frequencies / np.float32(self.factor)


@dataclass(frozen=True, slots=True)
class YarnScaling:
    """YaRN: low frequencies are divided by the factor, high ones kept, a ramp between by dim.

    Source: transformers, modeling_rope_utils._compute_yarn_parameters;
        https://arxiv.org/abs/2309.00071.
    """

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor_given: float | None = None
    truncate: bool = True

    def __post_init__(self) -> None:
        _check_factor(self.factor, self.original_max_position_embeddings)
        if not 0 < self.beta_slow < self.beta_fast:
            raise ValueError(
                f"beta_slow (={self.beta_slow}) must be > 0 and under beta_fast (={self.beta_fast})"
            )

    @property
    def attention_factor(self) -> float:
        """What cos and sin are multiplied by."""
        if self.attention_factor_given is not None:
            return self.attention_factor_given
        return 1.0 if self.factor <= 1 else 0.1 * math.log(self.factor) + 1.0

    def stretch(self, frequencies: Float32Array, theta: float) -> Float32Array:
        """Blend kept and divided frequencies by a ramp over the dims."""
        dim = 2 * len(frequencies)
        context = self.original_max_position_embeddings

        def turning_point(rotations: float) -> float:
            return dim * math.log(context / (rotations * 2 * math.pi)) / (2 * math.log(theta))

        low, high = turning_point(self.beta_fast), turning_point(self.beta_slow)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, dim - 1)
        if low == high:
            high += 0.001
        ramp = (np.arange(dim // 2, dtype=np.float32) - np.float32(low)) / np.float32(high - low)
        kept = np.float32(1) - np.clip(ramp, 0, 1).astype(np.float32)
        slowed: Float32Array = frequencies / np.float32(self.factor)
        blended: Float32Array = slowed * (np.float32(1) - kept) + frequencies * kept
        return blended


RopeScaling: TypeAlias = Llama3Scaling | LinearScaling | YarnScaling


def _check_factor(factor: float, context: int = 1) -> None:
    if factor < 1:
        raise ValueError(f"factor (={factor}) must be >= 1")
    if context < 1:
        raise ValueError(f"original_max_position_embeddings (={context}) must be >= 1")
