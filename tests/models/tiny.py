"""Small random checkpoints, written as a Hugging Face folder."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.models.config import DecoderConfig
from meshtwin.models.shapes import weight_shapes
from meshtwin.models.weights_writer import write_weights

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_layers": 2,
    "num_heads": 4,
    "num_kv_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "eos_token_ids": (2,),
}


def tiny_config(**changes: Any) -> DecoderConfig:
    """A Llama of two narrow layers."""
    if "attention_bias" in changes:  # the word of config.json for both
        has_bias = changes.pop("attention_bias")
        changes |= {"qkv_bias": has_bias, "output_bias": has_bias}
    return DecoderConfig(**{**SIZES, **changes})


def random_weights(config: DecoderConfig, seed: int = 0) -> dict[str, npt.NDArray[np.float32]]:
    """Weights that keep activations near one: norms about 1, matrices of std 1/sqrt(in)."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(config).items():
        values = rng.standard_normal(shape, dtype=np.float32)
        scale = np.float32(shape[-1] ** -0.5)
        weights[name] = (1 + values / 8 if "norm" in name else values * scale).astype(np.float32)
    return weights


def hf_config(config: DecoderConfig) -> dict[str, Any]:
    """config.json as transformers 4 writes it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": config.rope_scaling
        and {"rope_type": "llama3"} | asdict(config.rope_scaling),
        "tie_word_embeddings": config.tie_word_embeddings,
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "bos_token_id": list(config.bos_token_ids) or None,
        "eos_token_id": list(config.eos_token_ids) or None,
        "torch_dtype": config.dtype,
    }


def write_tiny(folder: Path, config: DecoderConfig, dtype: str = "F32", seed: int = 0) -> Path:
    """Write config.json and model.safetensors; dtype is F32 or BF16."""
    weights = random_weights(config, seed)
    folder.mkdir(parents=True, exist_ok=True)
    shapes = {name: array.shape for name, array in weights.items()}
    write_weights(folder / "model.safetensors", dtype, shapes, weights.values())
    (folder / "config.json").write_text(json.dumps(hf_config(config)))
    return folder
