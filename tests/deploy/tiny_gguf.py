"""A small llama GGUF, written by the gguf library from Hugging Face weights and a tokenizer."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from meshtwin.models.config import DecoderConfig

from ..models.tiny import random_weights
from ..models.tiny_tokenizer import TEMPLATE, byte_level_tokenizer

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight to blk.3.ffn_up.weight."""
    stem, _, kind = name.rpartition(".")
    if stem.startswith("model.layers."):
        layer, _, rest = stem.removeprefix("model.layers.").partition(".")
        return f"blk.{layer}.{NAMES[rest]}.{kind}"
    return f"{NAMES[stem]}.{kind}"


def permuted(array: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Rotary halves to pairs side by side, one row at a time: what llama.cpp does to q and k."""
    head_dim = len(array) // num_heads
    out = np.empty_like(array)
    for head in range(num_heads):
        for row in range(head_dim):
            half, pair = divmod(row, head_dim // 2)
            out[head * head_dim + 2 * pair + half] = array[head * head_dim + row]
    return out


def tokenizer_metadata() -> dict[str, Any]:
    """`tokenizer.*` of the tiny byte-level tokenizer."""
    fields = json.loads(byte_level_tokenizer().to_str())
    vocabulary = fields["model"]["vocab"]
    tokens = [*sorted(vocabulary, key=vocabulary.__getitem__), "<tool call>"]
    kinds = [3 if token.startswith("<|") else 1 for token in tokens[:-1]] + [4]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": [" ".join(merge) for merge in fields["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.chat_template": TEMPLATE,
    }


def model_metadata(config: DecoderConfig) -> dict[str, Any]:
    """`general.*` and `llama.*` of a config."""
    return {
        "general.architecture": "llama",
        "llama.block_count": config.num_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_heads,
        "llama.attention.head_count_kv": config.num_kv_heads,
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "llama.rope.freq_base": config.rope_theta,
        "llama.rope.dimension_count": config.head_dim,
    }


def write_gguf(
    path: Path,
    config: DecoderConfig,
    changes: dict[str, Any] | None = None,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    more_tensors: dict[str, npt.NDArray[np.float32]] | None = None,
) -> Path:
    """Write a GGUF of random_weights(config); matrices are stored as `kind`.

    A change of None removes a key.
    """
    metadata = {**model_metadata(config), **tokenizer_metadata(), **(changes or {})}
    writer = gguf.GGUFWriter(path, arch=metadata.pop("general.architecture"))
    for key, value in metadata.items():
        _add(writer, key, value)
    for name, array in random_weights(config).items():
        if ".q_proj." in name or ".k_proj." in name:
            heads = config.num_heads if ".q_proj." in name else config.num_kv_heads
            array = permuted(array, heads)
        stored = kind if array.ndim == 2 else gguf.GGMLQuantizationType.F32
        packed = gguf.quants.quantize(array, stored)
        writer.add_tensor(gguf_name(name), packed, raw_dtype=stored)
    for name, array in (more_tensors or {}).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif value is not None:
        writer.add_array(key, value)
