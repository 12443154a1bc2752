"""What a config.json may leave out: the values that transformers then has, by architecture.

Source: the defaults of each architecture's `configuration_*.py` in huggingface/transformers. Not
here: what no model can be without (but for vocabulary and heads of Gemma 3, whose published configs
leave them out), and what is the same for all of them (see `hugging_face.translate`).
"""

from collections.abc import Mapping
from typing import Any, Final

_QWEN: Final[Mapping[str, Any]] = {"num_key_value_heads": 32, "max_position_embeddings": 32_768}
_GEMMA3: Final[Mapping[str, Any]] = {
    "vocab_size": 262_208,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
}

TRANSFORMERS_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "MistralForCausalLM": {"num_key_value_heads": 8, "max_position_embeddings": 131_072},
    "Qwen2ForCausalLM": _QWEN,
    "Qwen3ForCausalLM": {**_QWEN, "head_dim": 128},
    "Qwen3MoeForCausalLM": {**_QWEN, "num_key_value_heads": 4},
    "MixtralForCausalLM": {
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rope_theta": 1e6,
    },
    "GptOssForCausalLM": {
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131_072,
        "rope_theta": 1.5e5,
    },
    "Gemma3ForCausalLM": _GEMMA3,
    "Gemma3ForConditionalGeneration": _GEMMA3,
    "Phi3ForCausalLM": {"max_position_embeddings": 4096},
    "MllamaForConditionalGeneration": {
        "num_key_value_heads": 8,
        "max_position_embeddings": 131_072,
        "rope_theta": 5e5,
    },
}

READ_FIELDS: Final = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "moe_intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "num_kv_heads",
    "head_dim",
)
"""Sizes that are read under these names: none of them is another one misspelt."""
