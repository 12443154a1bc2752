"""A mixture of experts: every expert's intermediate dim is cut over the chips.

Legend: B batch, S sequence, D model, E experts, k chosen for a token, F intermediate of one expert
(Fc: the chip's part, padded).
"""

from dataclasses import dataclass

from ...chip.compute_config import ComputeConfig
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..config import Activation


@dataclass(frozen=True, slots=True)
class ExpertMlp:
    """The sum of k experts' MLPs, weighted by the router; one all_reduce.

    Every chip holds the whole router and so chooses the same experts. Biases of `down` are on chip
    0 only.
    """

    router_ED: Tensor
    gate_EFcD: Tensor
    up_EFcD: Tensor
    down_EDFc: Tensor
    per_token: int
    is_normalised: bool
    activation: Activation = "silu"
    router_bias_E: Tensor | None = None
    gate_bias_EFc: Tensor | None = None
    up_bias_EFc: Tensor | None = None
    down_bias_ED: Tensor | None = None
    router_compute: ComputeConfig | None = None

    def __call__(self, chip: MeshChip, x_BSD: Tensor) -> Tensor:
        """x [B, S, D] to [B, S, D], the same on every chip."""
        logits_BSE = chip.linear(x_BSD, self.router_ED, self.router_bias_E, self.router_compute)
        if self.is_normalised:
            best_BSk, chosen_BSk = chip.topk(logits_BSE, self.per_token)
            weights_BSk = chip.softmax(best_BSk)
        else:
            weights_BSk, chosen_BSk = chip.topk(chip.softmax(logits_BSE), self.per_token)
        mixed_BSD = chip.experts(
            x_BSD,
            chosen_BSk,
            weights_BSk,
            self.gate_EFcD,
            self.up_EFcD,
            self.down_EDFc,
            activation=self.activation,
            gate_bias=self.gate_bias_EFc,
            up_bias=self.up_bias_EFc,
            down_bias=self.down_bias_ED,
        )
        return chip.all_reduce(mixed_BSD)
