"""Every family of models against transformers: logits of small random models, whole and cut."""

from pathlib import Path

import numpy as np
import pytest

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import MeshtwinError
from meshtwin.mesh.program import MeshChip
from meshtwin.models.builder import load_decoder
from meshtwin.models.errors import UnsupportedModel
from meshtwin.models.shapes import open_folder

from ..spmd import run_spmd
from .families import FAMILIES, IDS, write_family
from .sharded import BOXES, Array

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "families.npz")


def logits(folder: Path, num_chips: int, dtype: DType, prefill: int = len(IDS)) -> Array:
    """Of every position: the first `prefill` at once, the others one by one."""
    config, _ = open_folder(folder)

    def program(chip: MeshChip) -> Array | None:
        decoder = load_decoder(chip, folder, config, dtype)
        decoder.start(chip, 1, len(IDS))
        parts = []
        for part in [IDS[:prefill], *([token] for token in IDS[prefill:])]:
            ids = np.array(part, np.int32)
            is_prompt = len(part) > 1
            found = (
                decoder.prefill(chip, ids, every=True) if is_prompt else decoder.decode(chip, ids)
            )
            whole = chip.all_gather(found, dim=-1).to_numpy()
            parts.append(whole.reshape(-1, whole.shape[-1]))
        return np.concatenate(parts)[:, : config.vocab_size]

    found: Array = run_spmd(BOXES[num_chips], program)[0]
    return found


@pytest.mark.parametrize("num_chips", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_those_of_transformers(tmp_path: Path, name: str, num_chips: int) -> None:
    folder = write_family(tmp_path, name)
    found = logits(folder, num_chips, DType.FLOAT32, prefill=12)
    np.testing.assert_allclose(found, GOLDEN[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "olmo3"])
def test_more_chips_than_key_heads_give_the_same(tmp_path: Path, name: str) -> None:
    found = logits(write_family(tmp_path, name), 4, DType.FLOAT32)
    np.testing.assert_allclose(found, GOLDEN[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_bfloat16_stays_near(tmp_path: Path, name: str) -> None:
    found = logits(write_family(tmp_path, name), 2, DType.BFLOAT16)
    assert np.abs(found - GOLDEN[name]).mean() < 0.08


def test_a_norm_over_all_heads_needs_whole_key_heads_on_every_chip(tmp_path: Path) -> None:
    folder = write_family(tmp_path, "olmo3")
    with pytest.raises(MeshtwinError, match="a norm over all 2 key heads cut over 4 chips"):
        logits(folder, 4, DType.FLOAT32)


def test_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    write_family(tmp_path, "mixtral")
    text = (tmp_path / "config.json").read_text()
    text = text.replace("MixtralForCausalLM", "GptOssForCausalLM")
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UnsupportedModel, match="reading weights of gpt_oss"):
        open_folder(tmp_path)
