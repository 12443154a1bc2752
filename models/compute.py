"""What the products of a model's layers are computed with, unless it is told otherwise."""

from ..chip.compute_config import EXACT, ComputeConfig
from ..chip.dtype import DType


def model_compute(dtype: DType) -> ComputeConfig | None:
    """The config of every linear layer of a model in this format.

    float32: EXACT, since a float32 model is the reference that others are held against. Else None:
    each op takes what the chip's software chooses for its formats (bfloat16: HiFi2).
    """
    return EXACT if dtype is DType.FLOAT32 else None
