"""What the products of a model are computed with, unless the caller says otherwise."""

from ..chip.compute_config import EXACT, ComputeConfig, Fidelity
from ..chip.dtype import DType


def model_compute(activations: DType, weights: DType) -> ComputeConfig:
    """The config of the linear layers with weights of this format.

    float32: EXACT, since a float32 model is the reference that others are held against. bfp8:
    HiFi2, and bfp4: LoFi, as tt-transformers runs them: their weights are whole there. Else HiFi4,
    which multiplies bfloat16 whole. HiFi2, the default of the chip's software for one matmul, cuts
    a bit of every activation toward zero: its products are three times as far from the truth
    (docs/numerics.md has the figures).
    """
    if activations is DType.FLOAT32:
        return EXACT
    if weights is DType.BFP8_B:
        return ComputeConfig(Fidelity.HIFI2)
    if weights in (DType.BFP4_B, DType.BFP2_B):
        return ComputeConfig(Fidelity.LOFI)
    return ComputeConfig(Fidelity.HIFI4)


def attention_compute(activations: DType) -> ComputeConfig:
    """The config of attention, whatever the format of its cache.

    float32: EXACT, as above. Else HiFi2, which the chip's software chooses for attention: it cuts a
    bit of every query toward zero and leaves keys and values whole. What it moves the logits of a
    model by cannot be told from other roundings (docs/numerics.md).
    """
    return EXACT if activations is DType.FLOAT32 else ComputeConfig(Fidelity.HIFI2)
