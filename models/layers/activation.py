"""What stands between the projections of an MLP."""

from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..config import Activation


def activate(chip: MeshChip, x: Tensor, activation: Activation) -> Tensor:
    """The activation of x, elementwise."""
    if activation == "silu":
        return chip.silu(x)
    assert activation != "clamped_swiglu", "belongs to experts"
    return chip.gelu(x, approximate="tanh" if activation == "gelu_tanh" else "none")
