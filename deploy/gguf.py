"""Converting a llama GGUF to a Hugging Face folder: config, weights, tokenizer.

Weights are dequantised to float32, exactly as the format defines, and written so or rounded
once to bfloat16. GGUF stores the rows of q and k for rotary pairs that lie side by side
(2i, 2i + 1); Hugging Face's lie half a head apart (i, i + H/2), so those rows are put back.
Source: llama.cpp, convert_hf_to_gguf.py, LlamaModel.permute.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import numpy.typing as npt

from ..models.config import DecoderConfig
from ..models.errors import nearest
from ..models.hugging_face import translate
from ..models.shapes import weight_shapes
from ..models.weights_writer import write_weights
from .errors import CorruptGguf, UnsupportedGguf
from .gguf_tokenizer import write_tokenizer
from .progress import Report, silent

FORMAT_DTYPES: Final[Mapping[str, str]] = {"float32": "F32", "bfloat16": "BF16"}

_GLOBAL_NAMES: Final[Mapping[str, str]] = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LAYER_NAMES: Final[Mapping[str, str]] = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_NAME = re.compile(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)")


def convert_gguf(
    path: str | Path, folder: str | Path, dtype: str = "bfloat16", report: Report = silent
) -> Path:
    """Write a llama GGUF as config.json, model.safetensors, tokenizer files and their configs.

    Args:
        folder: made where it is missing; files of these names in it are replaced.
        dtype: float32 (every dequantised value exactly), or bfloat16 (rounded to nearest even).
        report: told how many bytes of the GGUF's tensors are done.
    Returns: the folder.
    Raises: CorruptGguf, UnsupportedGguf, ValueError for another dtype.
    """
    if dtype not in FORMAT_DTYPES:
        raise ValueError(f"dtype (={dtype!r}) must be one of {', '.join(FORMAT_DTYPES)}")
    path, folder = Path(path), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    reader = _open(path)
    metadata = {key: field.contents() for key, field in reader.fields.items()}
    tensors = _tensors_by_name(path, reader)
    hf_config = _hf_config(path, metadata, tensors, dtype)
    try:
        config = translate(hf_config)
    except ValueError as error:
        raise CorruptGguf(path, str(error)) from error
    shapes = _check_tensors(path, config, tensors)
    write_tokenizer(path, metadata, config.max_position_embeddings, folder)
    arrays = _arrays(config, shapes, tensors, report)
    write_weights(folder / "model.safetensors", FORMAT_DTYPES[dtype], shapes, arrays)
    _write_json(folder / "config.json", hf_config)
    ids = {key: value for key, value in hf_config.items() if key.endswith("_token_id")}
    _write_json(folder / "generation_config.json", ids)
    return folder


def _open(path: Path) -> gguf.GGUFReader:
    try:
        return gguf.GGUFReader(path)
    except OSError:
        raise
    except Exception as error:  # the library checks little: any type comes of a garbled file
        raise CorruptGguf(path, f"no whole GGUF: {error}") from error


def _hf_config(
    path: Path, metadata: Mapping[str, Any], tensors: Mapping[str, Any], dtype: str
) -> dict[str, Any]:
    """The config.json of a llama GGUF."""
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise UnsupportedGguf(path, f"architecture {architecture!r}", ("llama",))
    if metadata.get("llama.expert_count"):
        raise UnsupportedGguf(path, "a mixture of experts", ("dense llama",))
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none":
        raise UnsupportedGguf(path, f"rotary scaling {scaling!r}", ("none",))
    num_heads = _number(path, metadata, "llama.attention.head_count")
    hidden_size = _number(path, metadata, "llama.embedding_length")
    head_dim = metadata.get("llama.attention.key_length") or hidden_size // num_heads
    if metadata.get("llama.rope.dimension_count", head_dim) != head_dim:
        raise UnsupportedGguf(path, "a rotary embedding of part of a head", ("whole heads",))
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(metadata.get("tokenizer.ggml.tokens") or ()),
        "hidden_size": hidden_size,
        "intermediate_size": _number(path, metadata, "llama.feed_forward_length"),
        "num_hidden_layers": _number(path, metadata, "llama.block_count"),
        "num_attention_heads": num_heads,
        "num_key_value_heads": metadata.get("llama.attention.head_count_kv", num_heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": _number(path, metadata, "llama.context_length"),
        "rms_norm_eps": _real(path, metadata, "llama.attention.layer_norm_rms_epsilon", 1e-6),
        "rope_theta": _real(path, metadata, "llama.rope.freq_base", 10000.0),
        "rope_scaling": None,
        "tie_word_embeddings": "lm_head.weight" not in tensors,
        "attention_bias": "model.layers.0.self_attn.o_proj.bias" in tensors,
        "mlp_bias": "model.layers.0.mlp.down_proj.bias" in tensors,
        "torch_dtype": dtype,
    }
    for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        if f"tokenizer.ggml.{key}_token_id" in metadata:
            config[f"{name}_token_id"] = metadata[f"tokenizer.ggml.{key}_token_id"]
    return config


def _number(path: Path, metadata: Mapping[str, Any], key: str) -> int:
    value = metadata.get(key)
    if not isinstance(value, int) or value < 1:
        raise CorruptGguf(path, f"{key} (={value!r}) must be a number >= 1")
    return value


def _real(path: Path, metadata: Mapping[str, Any], key: str, default: float) -> float:
    """A float32 of the metadata as the shortest decimal that means it: 1e-05, not 9.99e-06."""
    value = metadata.get(key, default)
    if not isinstance(value, int | float):
        raise CorruptGguf(path, f"{key} (={value!r}) must be a number")
    return float(str(np.float32(value)))


def _tensors_by_name(path: Path, reader: gguf.GGUFReader) -> dict[str, gguf.ReaderTensor]:
    """The tensors by Hugging Face's names."""
    tensors = {}
    for tensor in reader.tensors:
        match = _NAME.fullmatch(tensor.name)
        layer, stem, kind = match.groups() if match else (None, "", "")
        name = (_GLOBAL_NAMES if layer is None else _LAYER_NAMES).get(stem)
        if name is None:
            known = (*_GLOBAL_NAMES, *(f"blk.<n>.{stem}" for stem in _LAYER_NAMES))
            raise UnsupportedGguf(path, f"tensor {tensor.name!r}", known)
        prefix = "" if layer is None else f"model.layers.{int(layer)}."
        tensors[f"{prefix}{name}.{kind}"] = tensor
    return tensors


def _check_tensors(
    path: Path, config: DecoderConfig, tensors: Mapping[str, gguf.ReaderTensor]
) -> dict[str, tuple[int, ...]]:
    """The shapes that the config asks for, each found in the file, and no tensor besides."""
    shapes = weight_shapes(config)
    for name, shape in shapes.items():
        if name not in tensors:
            raise CorruptGguf(path, f"no tensor {name!r}; {nearest(name, list(tensors))}")
        found = tuple(int(size) for size in reversed(tensors[name].shape))
        if found != shape:
            raise CorruptGguf(path, f"{name}: expected shape {list(shape)}, found {list(found)}")
    for name in tensors.keys() - shapes.keys():
        raise UnsupportedGguf(path, f"tensor {tensors[name].name!r}", tuple(shapes))
    return shapes


def _arrays(
    config: DecoderConfig,
    shapes: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, gguf.ReaderTensor],
    report: Report,
) -> Iterator[npt.NDArray[np.float32]]:
    """Each tensor as float32, in the order of `shapes`, q and k with their rows put back."""
    total_bytes = sum(int(tensors[name].n_bytes) for name in shapes)
    done_bytes = 0
    for name in shapes:
        tensor = tensors[name]
        array = np.asarray(gguf.quants.dequantize(tensor.data, tensor.tensor_type), np.float32)
        if ".q_proj." in name:
            array = unpermute(array, config.num_heads)
        elif ".k_proj." in name:
            array = unpermute(array, config.num_kv_heads)
        yield array
        done_bytes += int(tensor.n_bytes)
        report("converting", done_bytes, total_bytes)


def unpermute(array: npt.NDArray[np.float32], num_heads: int) -> npt.NDArray[np.float32]:
    """Put rotary rows of each head from pairs side by side to halves: [N*H] or [N*H, D]."""
    rest = array.shape[1:]
    pairs = array.reshape(num_heads, array.shape[0] // num_heads // 2, 2, *rest)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
