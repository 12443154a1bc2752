"""RMS normalisation; every chip holds the whole weight and normalises the whole vector."""

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
