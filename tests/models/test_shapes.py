from pathlib import Path

import numpy as np
import pytest

from meshtwin.models.errors import CorruptCheckpoint
from meshtwin.models.shapes import open_folder, weight_shapes
from meshtwin.models.weights import Checkpoint
from meshtwin.models.weights_writer import write_weights

from .tiny import random_weights, tiny_config, write_tiny


def test_a_checkpoint_has_the_weights_that_its_config_promises(tmp_path: Path) -> None:
    config = tiny_config(attention_bias=True, mlp_bias=True)
    read, checkpoint = open_folder(write_tiny(tmp_path, config))
    assert read == config
    assert set(checkpoint.names()) == set(weight_shapes(config))
    for name, array in random_weights(config).items():
        np.testing.assert_array_equal(checkpoint.read(name), array)


def test_tied_embeddings_need_no_head() -> None:
    assert "lm_head.weight" in weight_shapes(tiny_config())
    assert "lm_head.weight" not in weight_shapes(tiny_config(tie_word_embeddings=True))


def test_heads_may_be_wider_or_narrower_than_the_hidden_size() -> None:
    shapes = weight_shapes(tiny_config(head_dim=16))
    assert shapes["model.layers.1.self_attn.q_proj.weight"] == (64, 32)
    assert shapes["model.layers.1.self_attn.k_proj.weight"] == (32, 32)
    assert shapes["model.layers.1.self_attn.o_proj.weight"] == (32, 64)


def test_a_weight_of_another_shape_is_named_with_both(tmp_path: Path) -> None:
    write_tiny(tmp_path, tiny_config())
    shapes = {**weight_shapes(tiny_config()), "model.norm.weight": (31,)}
    arrays = (np.zeros(shape, np.float32) for shape in shapes.values())
    write_weights(tmp_path / "model.safetensors", "F32", shapes, arrays)
    with pytest.raises(
        CorruptCheckpoint, match=r"norm\.weight: the config says \[32\], found \[31\]"
    ):
        open_folder(tmp_path)


def test_a_missing_weight_is_named_with_the_nearest(tmp_path: Path) -> None:
    write_tiny(tmp_path, tiny_config())
    shapes = {f"{name}x": shape for name, shape in weight_shapes(tiny_config()).items()}
    arrays = (np.zeros(shape, np.float32) for shape in shapes.values())
    write_weights(tmp_path / "model.safetensors", "F32", shapes, arrays)
    assert Checkpoint(tmp_path).names()
    with pytest.raises(CorruptCheckpoint, match=r"nearest is 'model\.embed_tokens\.weightx'"):
        open_folder(tmp_path)
