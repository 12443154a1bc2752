"""A planted bug in one chip's part of a model is found: the chip, the layer and the op."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meshtwin.chip.dtype import DType
from meshtwin.mesh.program import MeshChip
from meshtwin.models.decoder import Decoder

from .comparing import compared, of_another_chip, of_another_layer, scaled
from .sharded import Model
from .tiny import tiny_config

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9]
LAYER, CHIP = 7, 2
WEIGHTS = {
    "attention.qkv_weight": "attention.py",
    "attention.output_weight": "attention.py",
    "mlp.gate_FcD": "mlp.py",
    "mlp.up_FcD": "mlp.py",
    "mlp.down_DFc": "mlp.py",
}


@pytest.fixture(scope="module", params=["divides", "nothing divides"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Nine layers; with 9 heads over 4 chips as SmolLM2 has, one chip's heads are padding."""
    sizes = {"num_heads": 8, "num_kv_heads": 4, "hidden_size": 64}
    if request.param == "nothing divides":
        sizes = {"num_heads": 9, "num_kv_heads": 3, "hidden_size": 35, "vocab_size": 101}
        sizes |= {"intermediate_size": 58}
    with Model(tiny_config(num_layers=9, eos_token_ids=(), **sizes)) as model:
        yield model.folder


@pytest.mark.parametrize("against", ["float32", "good weights", "one chip"])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16])
def test_nothing_is_found_in_a_clean_model(folder: Path, against: str, dtype: DType) -> None:
    comparison = compared(4, folder, IDS, against=against, dtype=dtype)
    assert comparison.first_break() is None, str(comparison.first_break())
    assert len({row.ordinal for row in comparison.rows}) > 9 * 15
    assert comparison.rows[-1].op == "all_gather"


PLANTS = {
    "another layer's": lambda name: of_another_layer(CHIP, LAYER, name, 3),
    "another chip's": lambda name: of_another_chip(CHIP, LAYER, name, 1),
    "too large": lambda name: scaled(CHIP, LAYER, name, 1.5),
}


@pytest.mark.parametrize("against", ["good weights", "one chip"])
@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("kind", PLANTS)
def test_one_wrong_shard_is_named(folder: Path, against: str, name: str, kind: str) -> None:
    finding = compared(4, folder, IDS, PLANTS[kind](name), against).first_break()
    assert finding is not None
    row = finding.row
    assert row is not None
    assert (row.chip, finding.chips, row.scope) == (CHIP, (CHIP,), f"layer {LAYER}"), str(finding)
    assert row.op == "linear" and row.line.startswith(WEIGHTS[name]), str(finding)
    assert finding.inputs_were_fine, str(finding)
    assert finding.collective.startswith("#") and "all_reduce" in finding.collective


@pytest.mark.parametrize("against", ["good weights", "one chip"])
def test_a_single_token_is_enough_to_name_a_wrong_shard(folder: Path, against: str) -> None:
    assert compared(4, folder, IDS[:1], against=against).first_break() is None
    plant = of_another_layer(CHIP, LAYER, "mlp.down_DFc", 3)
    finding = compared(4, folder, IDS[:1], plant, against).first_break()
    assert finding is not None and finding.row is not None
    assert (finding.chips, finding.row.scope, finding.row.op) == ((CHIP,), "layer 7", "linear")


def test_float32_shadows_start_from_the_wrong_weights_and_find_nothing(folder: Path) -> None:
    plant = of_another_layer(CHIP, LAYER, "mlp.down_DFc", 3)
    assert compared(4, folder, IDS, plant, "float32").first_break() is None


def test_a_wrong_part_of_the_vocabulary_is_named(folder: Path) -> None:
    def plant(chip: MeshChip, decoder: Decoder) -> Decoder:
        if chip.rank != CHIP:
            return decoder
        table = decoder.embedding.table_VcD
        turned = chip.tensor(table.to_numpy()[:, ::-1].copy(), table.dtype)
        return replace(decoder, embedding=replace(decoder.embedding, table_VcD=turned))

    finding = compared(4, folder, [30, 60, 70, 90], plant).first_break()
    assert finding is not None and finding.row is not None
    assert (finding.chips, finding.row.op, finding.row.scope) == ((2,), "embedding", "embedding")


@pytest.mark.slow
@pytest.mark.parametrize("against", ["float32", "good weights", "one chip"])
def test_nothing_is_found_in_a_clean_model_on_32_chips(folder: Path, against: str) -> None:
    assert compared(32, folder, IDS, against=against).first_break() is None


@pytest.mark.slow
@pytest.mark.parametrize("against", ["good weights", "one chip"])
@pytest.mark.parametrize("name", ["attention.output_weight", "mlp.down_DFc"])
def test_one_wrong_shard_of_32_is_named(folder: Path, against: str, name: str) -> None:
    finding = compared(
        32, folder, IDS, of_another_layer(CHIP, LAYER, name, 3), against
    ).first_break()
    assert finding is not None and finding.row is not None
    assert (finding.chips, finding.row.scope, finding.row.op) == ((CHIP,), "layer 7", "linear")
    assert finding.inputs_were_fine
