"""A small random checkpoint of every family of models, in its own words and names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from meshtwin.models.hugging_face import translate
from meshtwin.models.shapes import weight_shapes
from meshtwin.models.weights_writer import write_weights

IDS = [3, 1, 4, 1, 5, 9, 2, 6, 5, 35, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6]

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "torch_dtype": "float32",
}
EXPERTS = {"num_experts_per_tok": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama"},
    "mistral": {
        "architectures": ["MistralForCausalLM"],
        "model_type": "mistral",
        "sliding_window": 5,
    },
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"},
    "qwen3": {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"},
    "qwen3_moe": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "model_type": "qwen3_moe",
        "num_experts": 6,
        "moe_intermediate_size": 24,
        "norm_topk_prob": False,
        **EXPERTS,
    },
    "mixtral": {
        "architectures": ["MixtralForCausalLM"],
        "model_type": "mixtral",
        "num_local_experts": 4,
        **EXPERTS,
    },
    "gemma3": {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "tie_word_embeddings": True,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 16,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
    },
    "olmo3": {
        "architectures": ["Olmo3ForCausalLM"],
        "model_type": "olmo3",
        "sliding_window": 7,
    },
    "phi3": {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        "head_dim": None,
        "sliding_window": 9,
    },
    "falcon": {
        "architectures": ["FalconForCausalLM"],
        "model_type": "falcon",
        "num_kv_heads": 2,
        "new_decoder_architecture": True,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
        "head_dim": None,
        "layer_norm_epsilon": 1e-5,
        "ffn_hidden_size": 64,
    },
}


def family_config(name: str) -> dict[str, Any]:
    """config.json of a family's small model."""
    return {key: value for key, value in (SIZES | FAMILIES[name]).items() if value is not None}


def family_weights(name: str) -> dict[str, npt.NDArray[np.float32]]:
    """Weights by the names of shapes.py: norms about 1 (about 0 where 1 is added), others small."""
    config = translate(family_config(name))
    rng = np.random.default_rng(7)
    weights = {}
    for key, shape in weight_shapes(config).items():
        values = rng.standard_normal(shape, dtype=np.float32)
        if "norm" in key and key.endswith("weight"):
            values = (values / 8 + np.float32(1 - config.norm_offset)).astype(np.float32)
        elif len(shape) > 1:
            values *= np.float32(shape[-1] ** -0.5)
        else:
            values /= 8
        weights[key] = values.astype(np.float32)
    return weights


def write_family(folder: Path, name: str) -> Path:
    """A Hugging Face folder of a family's small model, its weights named and joined as it does."""
    weights = stored(name, family_weights(name))
    shapes = {key: value.shape for key, value in weights.items()}
    write_weights(folder / "model.safetensors", "F32", shapes, weights.values())
    (folder / "config.json").write_text(json.dumps(family_config(name)))
    return folder


def stored(
    name: str, weights: dict[str, npt.NDArray[np.float32]]
) -> dict[str, npt.NDArray[np.float32]]:
    """The weights as the family's checkpoints name and join them, written out independently."""
    if name == "mixtral":
        words = {
            ".mlp.gate.": ".block_sparse_moe.gate.",
            ".mlp.experts.": ".block_sparse_moe.experts.",
            ".gate_proj.": ".w1.",
            ".down_proj.": ".w2.",
            ".up_proj.": ".w3.",
        }
        renamed = {}
        for key, value in weights.items():
            for old, new in words.items():
                key = key.replace(old, new)
            renamed[key] = value
        return renamed
    if name == "phi3":
        return _joined(weights, _phi3)
    if name == "falcon":
        return _joined(weights, _falcon)
    return weights


def _joined(weights: dict[str, Any], join: Any) -> dict[str, Any]:
    num_layers = SIZES["num_hidden_layers"]
    out = {k: v for k, v in weights.items() if ".layers." not in k}
    if join is _falcon:
        words = {
            "model.embed_tokens.weight": "transformer.word_embeddings.weight",
            "model.norm.weight": "transformer.ln_f.weight",
            "model.norm.bias": "transformer.ln_f.bias",
        }
        out = {words.get(key, key): value for key, value in out.items()}
    for layer in range(num_layers):
        start = f"model.layers.{layer}."
        own = {k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)}
        out |= join(layer, own)
    return out


def _phi3(layer: int, own: dict[str, Any]) -> dict[str, Any]:
    start = f"model.layers.{layer}."
    qkv = [own.pop(f"self_attn.{which}_proj.weight") for which in "qkv"]
    gate_up = [own.pop(f"mlp.{which}_proj.weight") for which in ("gate", "up")]
    own["self_attn.qkv_proj.weight"] = np.concatenate(qkv)
    own["mlp.gate_up_proj.weight"] = np.concatenate(gate_up)
    return {start + key: value for key, value in own.items()}


def _falcon(layer: int, own: dict[str, Any]) -> dict[str, Any]:
    """Query heads of a group, its key head, its value head; then the next group."""
    q, k, v = (own[f"self_attn.{which}_proj.weight"].reshape(-1, 8, 32) for which in "qkv")
    groups = [np.concatenate([q[2 * g : 2 * g + 2], k[g : g + 1], v[g : g + 1]]) for g in (0, 1)]
    return {
        f"transformer.h.{layer}.{key}": value
        for key, value in {
            "self_attention.query_key_value.weight": np.concatenate(groups).reshape(-1, 32),
            "self_attention.dense.weight": own["self_attn.o_proj.weight"],
            "mlp.dense_h_to_4h.weight": own["mlp.up_proj.weight"],
            "mlp.dense_4h_to_h.weight": own["mlp.down_proj.weight"],
            "ln_attn.weight": own["input_layernorm.weight"],
            "ln_attn.bias": own["input_layernorm.bias"],
            "ln_mlp.weight": own["post_attention_layernorm.weight"],
            "ln_mlp.bias": own["post_attention_layernorm.bias"],
        }.items()
    }
