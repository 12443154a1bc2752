"""The gated MLP, its intermediate dim cut over the chips.

Legend: B batch, S sequence, D model, F intermediate (Fc: the chip's part, padded).
"""

from dataclasses import dataclass

from ...chip.compute_config import ComputeConfig
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """down(silu(gate(x)) * up(x)): gate and up by rows, down by columns, one all_reduce.

    A bias of `down` is on chip 0 only, so that the sum has it once.
    """

    gate_FcD: Tensor
    up_FcD: Tensor
    down_DFc: Tensor
    gate_bias_Fc: Tensor | None = None
    up_bias_Fc: Tensor | None = None
    down_bias_D: Tensor | None = None
    compute: ComputeConfig | None = None

    def __call__(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """x [B, S, D] to [B, S, D], the same on every chip."""
        gate_BSFc = chip.silu(chip.linear(x_BSD, self.gate_FcD, self.gate_bias_Fc, self.compute))
        up_BSFc = chip.linear(x_BSD, self.up_FcD, self.up_bias_Fc, self.compute)
        hidden_BSFc = chip.mul(gate_BSFc, up_BSFc)
        out = chip.linear(hidden_BSFc, self.down_DFc, self.down_bias_D, self.compute)
        return chip.all_reduce(out)
