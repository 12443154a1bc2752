import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from meshtwin.models.config import DecoderConfig
from meshtwin.models.errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedModel
from meshtwin.models.hugging_face import read_config, translate
from meshtwin.models.rope_scaling import Llama3Scaling

from .tiny import hf_config, tiny_config

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def changed(**changes: Any) -> dict[str, Any]:
    """A sound config.json with some fields changed; None removes one."""
    config = {**hf_config(tiny_config()), **changes}
    return {key: value for key, value in config.items() if value is not None}


def write(folder: Path, config: object, generation: object = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


@pytest.mark.parametrize(
    "config",
    [
        tiny_config(),
        tiny_config(head_dim=16, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
        tiny_config(num_kv_heads=4, rope_theta=5e5, eos_token_ids=(2, 5), bos_token_ids=(1,)),
        tiny_config(rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 32), dtype="bfloat16"),
    ],
)
def test_a_config_written_for_transformers_is_read_back(
    tmp_path: Path, config: DecoderConfig
) -> None:
    assert read_config(write(tmp_path, hf_config(config))) == config


def test_fields_that_are_left_out_have_the_defaults_of_transformers() -> None:
    config = translate(
        changed(num_key_value_heads=None, head_dim=None, rms_norm_eps=None, torch_dtype=None)
    )
    assert (config.num_kv_heads, config.head_dim) == (4, 8)
    assert (config.rms_norm_eps, config.dtype) == (1e-6, "float32")


def test_an_architecture_has_its_own_defaults() -> None:
    left_out = {"num_key_value_heads": None, "max_position_embeddings": None, "rope_theta": None}
    fields = changed(
        architectures=["MixtralForCausalLM"],
        num_attention_heads=8,
        num_local_experts=4,
        num_experts_per_tok=2,
        **left_out,
    )
    config = translate(fields)
    assert (config.num_kv_heads, config.max_position_embeddings) == (8, 131_072)
    assert config.rope_theta == 1e6
    one_each = translate({**fields, "num_attention_heads": 4, "num_key_value_heads": None})
    assert one_each.num_kv_heads == 4


NEEDED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)


@pytest.mark.parametrize("name", NEEDED)
def test_a_size_that_is_needed_and_missing_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=rf"config\.json: {name} is missing$"):
        read_config(write(tmp_path, changed(**{name: None})))


@pytest.mark.parametrize("name", NEEDED)
def test_a_size_that_is_misspelt_is_found(name: str) -> None:
    slip = name[:-1]
    with pytest.raises(ValueError, match=rf"{name} is missing \(did you mean {slip}\?\)"):
        translate(changed(**{name: None, slip: 4}))


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"architectures": ["LlamaForCasualLM"]}, "did you mean LlamaForCausalLM?"),
        ({"architectures": None, "model_type": "lama"}, "did you mean llama?"),
        ({"architectures": ["MambaForCausalLM"]}, ""),
    ],
)
def test_a_slip_in_the_architecture_is_seen(changes: dict[str, Any], hint: str) -> None:
    with pytest.raises(UnsupportedModel) as caught:
        translate(changed(**changes))
    assert hint in str(caught.value)
    assert ("did you mean" in str(caught.value)) == bool(hint)


def test_rope_parameters_of_transformers_5_are_read() -> None:
    fields = changed(
        rope_theta=None, rope_parameters={**LLAMA3, "rope_theta": 5e5}, dtype="bfloat16"
    )
    config = translate(fields)
    assert config.rope_theta == 5e5
    assert config.rope_scaling == Llama3Scaling(8.0, 1.0, 4.0, 8192)
    assert config.dtype == "bfloat16"


@pytest.mark.parametrize("scaling", [{"type": "default"}, {"rope_type": "default"}, {}])
def test_default_rope_scaling_is_none(scaling: dict[str, Any]) -> None:
    assert translate(changed(rope_scaling=scaling)).rope_scaling is None


def test_the_generation_config_decides_where_a_text_ends(tmp_path: Path) -> None:
    folder = write(tmp_path, changed(eos_token_id=2), {"eos_token_id": [7, 8]})
    assert read_config(folder).eos_token_ids == (7, 8)
    folder = write(tmp_path, changed(eos_token_id=2), {"eos_token_id": None})
    assert read_config(folder).eos_token_ids == (2,)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"architectures": ["BertModel"]}, "BertModel"),
        ({"architectures": None, "model_type": "mamba"}, "mamba"),
        ({"hidden_act": "relu"}, "relu"),
        ({"rope_scaling": {"type": "longrope", "factor": 4}}, "longrope"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
    ],
)
def test_what_is_not_built_here_is_named_with_what_is(
    tmp_path: Path, changes: dict[str, Any], word: str
) -> None:
    with pytest.raises(UnsupportedModel, match=word) as caught:
        read_config(write(tmp_path, changed(**changes)))
    assert caught.value.supported
    assert caught.value.supported[0] in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": "big"}, "hidden_size"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_key_value_heads": 3}, r"num_attention_heads \(=4\) .* num_key_value_heads \(=3\)"),
        ({"hidden_size": 33, "head_dim": None}, r"hidden_size \(=33\) .* head_dim is missing"),
        ({"architectures": None, "model_type": None}, "architectures is missing, and so is model_"),
        ({"head_dim": 7}, "head_dim"),
        ({"vocab_size": True}, "vocab_size"),
        ({"rms_norm_eps": -1.0}, r"rms_norm_eps \(=-1.0\) must be > 0$"),
        ({"rope_theta": float("inf")}, "rope_theta"),
        ({"rope_theta": 10**400}, "rope_theta"),
        ({"rope_scaling": "llama3"}, "rope_scaling"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8}}, "low_freq_factor"),
        ({"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "low_freq_factor"),
        ({"rope_scaling": {**LLAMA3, "factor": 0.5}}, "factor"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"eos_token_id": [2, -1]}, "eos_token_id"),
        ({"torch_dtype": "int8"}, "int8"),
    ],
)
def test_an_impossible_field_is_named(tmp_path: Path, changes: dict[str, Any], word: str) -> None:
    with pytest.raises(CorruptCheckpoint, match=word):
        read_config(write(tmp_path, changed(**changes)))


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000])
def test_a_config_that_is_no_json_object_is_corrupt(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CorruptCheckpoint, match=r"config\.json"):
        read_config(tmp_path)


def test_a_folder_without_a_config_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(CheckpointNotFound, match=r"no config\.json"):
        read_config(tmp_path)
    with pytest.raises(CheckpointNotFound, match=r"no config\.json"):
        read_config(tmp_path / "nowhere")


def test_a_config_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        tiny_config().hidden_size = 1  # type: ignore[misc]
