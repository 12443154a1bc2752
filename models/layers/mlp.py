"""The MLP, its intermediate dim cut over the chips.

Legend: B batch, S sequence, D model, F intermediate (Fc: the chip's part, padded).
"""

from dataclasses import dataclass

from ...chip.compute_config import ComputeConfig
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..config import Activation
from .activation import activate


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """down(act(gate(x)) * up(x)): gate and up by rows, down by columns, one all_reduce.

    Without a gate: down(act(up(x))). A bias of `down` is on chip 0 only, so that the sum has it
    once.
    """

    gate_FcD: Tensor | None
    up_FcD: Tensor
    down_DFc: Tensor
    gate_bias_Fc: Tensor | None = None
    up_bias_Fc: Tensor | None = None
    down_bias_D: Tensor | None = None
    activation: Activation = "silu"
    compute: ComputeConfig | None = None  # of gate and up
    down_compute: ComputeConfig | None = None

    def __call__(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """x [B, S, D] to [B, S, D], the same on every chip."""
        return chip.all_reduce(self.part(chip, x_BSD))

    def part(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """What this chip adds to the result, [B, S, D]."""
        if self.gate_FcD is None:
            up_BSFc = chip.linear(x_BSD, self.up_FcD, self.up_bias_Fc, self.compute)
            hidden_BSFc = activate(chip, up_BSFc, self.activation)
        else:
            gate_BSFc = chip.linear(x_BSD, self.gate_FcD, self.gate_bias_Fc, self.compute)
            gate_BSFc = activate(chip, gate_BSFc, self.activation)
            up_BSFc = chip.linear(x_BSD, self.up_FcD, self.up_bias_Fc, self.compute)
            hidden_BSFc = chip.mul(gate_BSFc, up_BSFc)
        return chip.linear(hidden_BSFc, self.down_DFc, self.down_bias_D, self.down_compute)
