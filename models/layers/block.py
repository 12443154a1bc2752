"""One decoder layer: attention and MLP with their norms and residuals.

Legend: B batch, S sequence, D model.
"""

from dataclasses import dataclass

from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..kv_cache import LayerCache
from .attention import Attention, Rotary
from .experts import ExpertMlp
from .mlp import GatedMlp
from .norm import Norm


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
        self, chip: MeshChip, x_BSD: Tensor, rotary: Rotary, cache: LayerCache, start: int
    ) -> Tensor:
        """x [B, S, D] at positions start..start+S to [B, S, D]."""
        normed = _normed(chip, self.norm_before_attention, x_BSD)
        mixed = self.attention(chip, normed, rotary, cache, start)
        if self.is_parallel:
            hidden = self.mlp(chip, _normed(chip, self.norm_before_mlp, x_BSD))
            return chip.add(x_BSD, chip.add(mixed, hidden))
        x_BSD = chip.add(x_BSD, _normed(chip, self.norm_after_attention, mixed))
        hidden = self.mlp(chip, _normed(chip, self.norm_before_mlp, x_BSD))
        return chip.add(x_BSD, _normed(chip, self.norm_after_mlp, hidden))


def _normed(chip: MeshChip, norm: Norm | None, x_BSD: Tensor) -> Tensor:
    return x_BSD if norm is None else norm(chip, x_BSD)
