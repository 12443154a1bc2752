"""What the linear layers of a model are computed with, unless the caller says otherwise."""

from ..chip.compute_config import EXACT, ComputeConfig, Fidelity
from ..chip.dtype import DType


def model_compute(dtype: DType) -> ComputeConfig:
    """The config of every linear layer of a model in this format.

    float32: EXACT, since a float32 model is the reference that others are held against. Else HiFi4,
    which multiplies bfloat16 whole. HiFi2, the default of the chip's software for one matmul, cuts
    a bit of every activation toward zero; after 30 layers the logits are half again as far from
    another bfloat16 run (docs/numerics.md has the figures).
    """
    return EXACT if dtype is DType.FLOAT32 else ComputeConfig(Fidelity.HIFI4)
