"""Normalisation of the whole vector: every chip holds the whole weight."""

from dataclasses import dataclass

from ...chip.tensor import Tensor
from ...mesh.program import MeshChip


@dataclass(frozen=True, slots=True)
class RmsNorm:
    """x / sqrt(mean(x^2) + eps) * weight over the last dim."""

    weight_D: Tensor
    eps: float

    def __call__(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """x [B, S, D] to [B, S, D]."""
        return chip.rms_norm(x_BSD, self.weight_D, self.eps)


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last dim."""

    weight_D: Tensor
    bias_D: Tensor
    eps: float

    def __call__(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """x [B, S, D] to [B, S, D]."""
        return chip.layer_norm(x_BSD, self.weight_D, self.bias_D, self.eps)


Norm = RmsNorm | LayerNorm


@dataclass(frozen=True, slots=True)
class SplitRmsNorm:
    """An RMS norm over a dim that is cut over the chips: each holds its part of the weight."""

    weight_Dc: Tensor
    eps: float

    def __call__(self, chip: MeshChip, x_BSDc: Tensor) -> Tensor:
        """The chip's part of x [B, S, Dc] to [B, S, Dc]; one small all_gather."""
        part = chip.rms_norm_pre_all_gather(x_BSDc, x_BSDc.dtype)
        statistics = chip.all_gather(part, dim=-1)
        return chip.rms_norm_post_all_gather(x_BSDc, statistics, self.weight_Dc, self.eps)
