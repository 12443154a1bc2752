import numpy as np

from meshtwin.chip.compute_config import EXACT, ComputeConfig, Fidelity
from meshtwin.chip.dtype import DType
from meshtwin.models import programs
from meshtwin.models.builder import DecoderBuilder
from meshtwin.models.compute import attention_compute, model_compute
from meshtwin.models.layers.mlp import GatedMlp

from .reference import ReferenceLlama
from .sharded import Array, Model
from .tiny import tiny_config

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9]


def logits(model: Model, dtype: DType, compute: ComputeConfig | None) -> Array:
    """Of every position, on one chip."""

    def program(builder: DecoderBuilder) -> Array | None:
        chip = builder.chip
        chosen = DecoderBuilder(chip, builder.load.source, builder.config, dtype, compute)
        return programs.all_logits(chip, chosen.decoder(), IDS)

    found: Array = model.run(1, dtype, program)[0]
    return found


def test_a_float32_model_is_the_reference_and_a_bfloat16_one_whole() -> None:
    assert model_compute(DType.FLOAT32, DType.FLOAT32) is EXACT
    assert model_compute(DType.BFLOAT16, DType.BFLOAT16).fidelity is Fidelity.HIFI4


def test_block_floats_are_multiplied_in_as_few_phases_as_leave_them_whole() -> None:
    assert model_compute(DType.BFLOAT16, DType.BFP8_B).fidelity is Fidelity.HIFI2
    assert model_compute(DType.BFLOAT16, DType.BFP4_B).fidelity is Fidelity.LOFI


def test_attention_multiplies_as_the_chips_software_has_it() -> None:
    assert attention_compute(DType.FLOAT32) is EXACT
    ours = attention_compute(DType.BFLOAT16)
    assert ours.fidelity is ComputeConfig.default("attention", "bfloat16").fidelity


def test_one_config_is_that_of_every_layer() -> None:
    lofi = ComputeConfig(Fidelity.LOFI)

    def layers(builder: DecoderBuilder) -> list[ComputeConfig | None]:
        chosen = DecoderBuilder(
            builder.chip, builder.load.source, builder.config, builder.dtype, lofi
        )
        decoder = chosen.decoder()
        found = [decoder.head.compute]
        for block in decoder.blocks:
            assert isinstance(block.mlp, GatedMlp)
            found += [block.attention.compute, block.attention.mix_compute]
            found += [block.mlp.compute, block.mlp.down_compute]
        return found

    with Model(tiny_config(), "BF16") as model:
        (found,) = model.run(1, DType.BFLOAT16, layers)
    assert found == [lofi] * 9


def test_fewer_phases_take_a_model_further_from_the_reference() -> None:
    with Model(tiny_config(vocab_size=200), "BF16") as model:
        expected = ReferenceLlama(model.folder).forward(IDS)
        lofi, hifi2, hifi4 = (
            float(np.abs(logits(model, DType.BFLOAT16, ComputeConfig(fidelity)) - expected).mean())
            for fidelity in (Fidelity.LOFI, Fidelity.HIFI2, Fidelity.HIFI4)
        )
        whole = np.abs(logits(model, DType.FLOAT32, None) - expected).max()
    assert lofi > 1.5 * hifi2 > 1.5 * hifi4 > 0
    assert whole < 5e-5
