"""One decoder layer: attention and MLP with their norms and residuals.

Legend: B users, S positions of one of them, D model.
"""

from dataclasses import dataclass

from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..kv_cache import LayerCache
from ..step import Step
from .attention import Attention
from .experts import ExpertMlp
from .mlp import GatedMlp
from .norm import Norm
from .rotary import Rotary


@dataclass(frozen=True, slots=True)
class Block:
    """x + attention, then x + mlp; each with a norm before it, after it, or both.

    With `is_parallel`, both read the same x, and both are added to it.
    """

    attention: Attention
    mlp: GatedMlp | ExpertMlp
    norm_before_attention: Norm | None = None
    norm_after_attention: Norm | None = None
    norm_before_mlp: Norm | None = None
    norm_after_mlp: Norm | None = None
    is_parallel: bool = False

    def __call__(
        self, chip: MeshChip, x: Tensor, rotary: Rotary, cache: LayerCache, step: Step
    ) -> Tensor:
        """x [1, S, D] (prefill) or [1, 1, B, D] (decode) to the same."""
        normed = _normed(chip, self.norm_before_attention, x)
        mixed = self.attention(chip, normed, rotary, cache, step)
        if self.is_parallel:
            hidden = self.mlp(chip, _normed(chip, self.norm_before_mlp, x))
            return chip.add(x, chip.add(mixed, hidden))
        x = chip.add(x, _normed(chip, self.norm_after_attention, mixed))
        hidden = self.mlp(chip, _normed(chip, self.norm_before_mlp, x))
        return chip.add(x, _normed(chip, self.norm_after_mlp, hidden))


def _normed(chip: MeshChip, norm: Norm | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(chip, x)
