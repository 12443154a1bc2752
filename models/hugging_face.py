"""Reading a Hugging Face config.json: which architecture says what in which words.

Both spellings of rotary parameters are read: `rope_theta` with `rope_scaling` (transformers 4) and
`rope_parameters` (transformers 5); `torch_dtype` and `dtype`. Multimodal configs give their text
part.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from .config import DTYPES, Activation, DecoderConfig, Experts, LayerKind, read_json
from .errors import CorruptCheckpoint, UnsupportedModel
from .rope_scaling import LinearScaling, Llama3Scaling, RopeScaling, YarnScaling
from .transformers_defaults import READ_FIELDS, TRANSFORMERS_DEFAULTS

ROPE_TYPES = ("default", "llama3", "linear", "yarn")
ACTIVATIONS: Final[Mapping[str, Activation]] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
}

Fields = Mapping[str, Any]
Changes = dict[str, Any]


def read_config(path: str | Path) -> DecoderConfig:
    """Read config.json, and the end-of-text ids of generation_config.json where it is there.

    Raises:
        CheckpointNotFound: no folder, or no config.json in it.
        CorruptCheckpoint: not JSON, a field is missing, or its value is impossible.
        UnsupportedModel: another architecture, activation or rotary scaling.
    """
    folder = Path(path)
    generation_path = folder / "generation_config.json"
    return read_config_file(folder / "config.json", generation_path)


def read_config_file(path: Path, generation_path: Path | None = None) -> DecoderConfig:
    """Read a config.json by its own path, and a generation_config.json where there is one.

    Raises: as `read_config`.
    """
    try:
        config = read_json(path)
    except CorruptCheckpoint as error:
        what = error.what if path.name == "config.json" else f"no config.json: {error.what}"
        raise CorruptCheckpoint(path, what) from error
    has_generation = generation_path is not None and generation_path.exists()
    generation = read_json(generation_path) if generation_path and has_generation else {}
    try:
        return translate(config, generation)
    except (TypeError, ValueError) as error:
        raise CorruptCheckpoint(path, str(error)) from error


def translate(config: Fields, generation: Fields | None = None) -> DecoderConfig:
    """A decoder's config from the fields of a config.json.

    Raises: UnsupportedModel, or ValueError naming the field and its value.
    """
    text = config.get("text_config")
    if isinstance(text, dict):  # the text part of a model that also sees
        outer = {key: value for key, value in config.items() if key != "text_config"}
        config = {**outer, **text, "architectures": config.get("architectures")}
    architecture = _architecture(config)
    config = {**TRANSFORMERS_DEFAULTS.get(architecture, {}), **config}
    if config.get("quantization_config"):
        raise UnsupportedModel("a quantised checkpoint", DTYPES)
    ids = {**config, **{k: v for k, v in (generation or {}).items() if v is not None}}
    fields: Changes = {
        **_common(config, architecture),
        "bos_token_ids": _ids(ids, "bos_token_id"),
        "eos_token_ids": _ids(ids, "eos_token_id"),
        "dtype": str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix(
            "torch."
        ),
        **ARCHITECTURES[architecture](config),
    }
    return DecoderConfig(**fields)


def _common(config: Fields, architecture: str) -> Changes:
    """The fields that nearly all architectures name alike."""
    num_heads = needed(config, "num_attention_heads")
    hidden_size = needed(config, "hidden_size")
    theta, scaling = rope(config)
    is_falcon = architecture == "FalconForCausalLM"  # whose MLP has a name of its own
    return {
        "vocab_size": needed(config, "vocab_size"),
        "hidden_size": hidden_size,
        **({} if is_falcon else {"intermediate_size": needed(config, "intermediate_size")}),
        "num_layers": needed(config, "num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": whole(config, "num_key_value_heads", num_heads),
        "head_dim": _head_dim(config, hidden_size, num_heads),
        "max_position_embeddings": whole(config, "max_position_embeddings", 2048),
        "rms_norm_eps": real(config, "rms_norm_eps", 1e-6),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "tie_word_embeddings": flag(config, "tie_word_embeddings"),
    }


def _head_dim(config: Fields, hidden_size: int, num_heads: int) -> int:
    if config.get("head_dim") is None and num_heads > 0 and hidden_size % num_heads:
        raise ValueError(
            f"hidden_size (={hidden_size}) is no multiple of num_attention_heads (={num_heads}), "
            "and head_dim is missing"
        )
    return whole(config, "head_dim", hidden_size // max(num_heads, 1))


def _llama(config: Fields) -> Changes:
    has_bias = flag(config, "attention_bias")
    return {
        "activation": activation(config, "hidden_act"),
        "qkv_bias": has_bias,
        "output_bias": has_bias,
        "mlp_bias": flag(config, "mlp_bias"),
    }


def _mistral(config: Fields) -> Changes:
    window = config.get("sliding_window")
    kinds = _kinds(config, "sliding" if window else "full")
    return {
        "family": "mistral",
        "activation": activation(config, "hidden_act"),
        "sliding_window": whole(config, "sliding_window") if window else None,
        "layer_kinds": kinds if window else (),
    }


def _qwen2(config: Fields) -> Changes:
    return {
        "family": "qwen2",
        "activation": activation(config, "hidden_act"),
        "qkv_bias": True,
        **_qwen_window(config),
    }


def _qwen3(config: Fields) -> Changes:
    has_bias = flag(config, "attention_bias")
    return {
        "family": "qwen3",
        "activation": activation(config, "hidden_act"),
        "qkv_bias": has_bias,
        "output_bias": has_bias,
        "qk_norm": "head",
        **_qwen_window(config),
    }


def _qwen_window(config: Fields) -> Changes:
    """Qwen's sliding window: off unless asked for, and then for the layers from one on."""
    if not flag(config, "use_sliding_window"):
        return {}
    first = whole(config, "max_window_layers", 28)
    given = _kinds(config, "full")
    if not config.get("layer_types"):
        given = tuple("sliding" if layer >= first else "full" for layer in range(len(given)))
    return {"sliding_window": whole(config, "sliding_window"), "layer_kinds": given}


def _qwen3_moe(config: Fields) -> Changes:
    if config.get("mlp_only_layers") or whole(config, "decoder_sparse_step", 1) != 1:
        raise UnsupportedModel(
            "a mixture of experts in some layers only", ("experts in every layer",)
        )
    return {
        **_qwen3(config),
        "family": "qwen3_moe",
        "experts": Experts(
            num=whole(config, "num_experts"),
            per_token=whole(config, "num_experts_per_tok"),
            size=whole(config, "moe_intermediate_size"),
            normalised=flag(config, "norm_topk_prob"),
        ),
    }


def _mixtral(config: Fields) -> Changes:
    return {
        **_mistral({**config, "sliding_window": config.get("sliding_window")}),
        "family": "mixtral",
        "experts": Experts(
            num=whole(config, "num_local_experts"),
            per_token=whole(config, "num_experts_per_tok"),
            size=whole(config, "intermediate_size"),
        ),
    }


def _gpt_oss(config: Fields) -> Changes:
    has_bias = flag(config, "attention_bias", True)
    limit = real(config, "swiglu_limit", 7.0)
    if limit != 7.0:
        raise UnsupportedModel(f"swiglu_limit {limit}", ("7.0",))
    return {
        "family": "gpt_oss",
        "rms_norm_eps": real(config, "rms_norm_eps", 1e-5),
        "qkv_bias": has_bias,
        "output_bias": has_bias,
        "has_sinks": True,
        "activation": "clamped_swiglu",
        "sliding_window": whole(config, "sliding_window", 128),
        "layer_kinds": _kinds(config, "sliding", every=2),
        "experts": Experts(
            num=whole(config, "num_local_experts"),
            per_token=whole(config, "num_experts_per_tok"),
            size=whole(config, "intermediate_size"),
            has_bias=True,
        ),
    }


def _gemma3(config: Fields) -> Changes:
    for name in ("final_logit_softcapping", "attn_logit_softcapping"):
        if config.get(name):
            raise UnsupportedModel(name, (f"no {name}",))
    theta, local_theta, scaling = _layered_rope(config, 1e6, 1e4)
    return {
        "family": "gemma3",
        "tie_word_embeddings": flag(config, "tie_word_embeddings", True),
        "rope_theta": theta,
        "rope_scaling": scaling,
        "local_rope_theta": local_theta,
        "qk_norm": "head",
        "query_scale": real(config, "query_pre_attn_scalar", 256) ** -0.5,
        "sliding_window": whole(config, "sliding_window", 4096),
        "layer_kinds": _kinds(config, "sliding", every=whole(config, "sliding_window_pattern", 6)),
        "norm_offset": 1.0,
        "norm_placement": "around",
        "activation": activation(config, "hidden_activation", "gelu_pytorch_tanh"),
        "embedding_scale": math.sqrt(needed(config, "hidden_size")),
    }


def _layered_rope(
    config: Fields, default_theta: float, default_local: float | None = None
) -> tuple[float, float | None, RopeScaling | None]:
    """Bases of the full and of the sliding layers (None: the same), and the full ones' scaling."""
    parameters = config.get("rope_parameters") or {}
    if "full_attention" in parameters:  # transformers 5
        theta, scaling = rope({**config, "rope_parameters": parameters["full_attention"]})
        local, _ = rope({"rope_parameters": parameters.get("sliding_attention")}, theta)
    else:
        theta, scaling = rope(config, default_theta)
        local = real(config, "rope_local_base_freq", default_local or theta)
    return theta, None if local == theta and scaling is None else local, scaling


def _olmo3(config: Fields) -> Changes:
    has_bias = flag(config, "attention_bias")
    theta, local_theta, scaling = _layered_rope(config, 5e5, 5e5)
    return {
        "family": "olmo3",
        "rope_theta": theta,
        "rope_scaling": scaling,
        "local_rope_theta": local_theta,
        "rms_norm_eps": real(config, "rms_norm_eps", 1e-5),
        "activation": activation(config, "hidden_act"),
        "qkv_bias": has_bias,
        "output_bias": has_bias,
        "qk_norm": "all",
        "norm_placement": "after",
        "sliding_window": whole(config, "sliding_window", 4096),
        "layer_kinds": _kinds(config, "sliding", every=4),
    }


def _phi3(config: Fields) -> Changes:
    window = config.get("sliding_window")
    return {
        "family": "phi3",
        "activation": activation(config, "hidden_act"),
        "sliding_window": whole(config, "sliding_window") if window else None,
        "layer_kinds": _kinds(config, "sliding") if window else (),
    }


def _falcon(config: Fields) -> Changes:
    if not flag(config, "new_decoder_architecture") or flag(config, "alibi"):
        raise UnsupportedModel("a Falcon of the first architecture", ("Falcon-40B's",))
    if config.get("num_ln_in_parallel_attn") not in (None, 2):
        raise UnsupportedModel("a Falcon with one norm a layer", ("two",))
    hidden_size = needed(config, "hidden_size")
    heads = needed(config, "num_attention_heads")
    has_bias = flag(config, "bias")
    return {
        "family": "falcon",
        "num_kv_heads": whole(config, "num_kv_heads", heads),
        "intermediate_size": whole(config, "ffn_hidden_size", 4 * hidden_size),
        "rms_norm_eps": real(config, "layer_norm_epsilon", 1e-5),
        "tie_word_embeddings": flag(config, "tie_word_embeddings", True),
        "norm": "layer",
        "norm_placement": "parallel",
        "qkv_bias": has_bias,
        "output_bias": has_bias,
        "mlp_bias": has_bias,
        "activation": activation(config, "activation", "gelu"),
        "is_gated": False,
    }


def _mllama(config: Fields) -> Changes:
    """The text part of a Llama that sees: without a picture its cross attention is skipped."""
    crossed = config.get("cross_attention_layers") or []
    return {
        **_llama(config),
        "num_layers": needed(config, "num_hidden_layers") - len(crossed),
        "family": "mllama",
    }


ARCHITECTURES: Final[Mapping[str, Callable[[Fields], Changes]]] = {
    "LlamaForCausalLM": _llama,
    "MistralForCausalLM": _mistral,
    "Qwen2ForCausalLM": _qwen2,
    "Qwen3ForCausalLM": _qwen3,
    "Qwen3MoeForCausalLM": _qwen3_moe,
    "MixtralForCausalLM": _mixtral,
    "GptOssForCausalLM": _gpt_oss,
    "Gemma3ForCausalLM": _gemma3,
    "Gemma3ForConditionalGeneration": _gemma3,
    "Olmo3ForCausalLM": _olmo3,
    "Phi3ForCausalLM": _phi3,
    "FalconForCausalLM": _falcon,
    "MllamaForConditionalGeneration": _mllama,
}

_MODEL_TYPES: Final[Mapping[str, str]] = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "qwen3_moe": "Qwen3MoeForCausalLM",
    "mixtral": "MixtralForCausalLM",
    "gpt_oss": "GptOssForCausalLM",
    "gemma3": "Gemma3ForConditionalGeneration",
    "gemma3_text": "Gemma3ForCausalLM",
    "olmo3": "Olmo3ForCausalLM",
    "phi3": "Phi3ForCausalLM",
    "falcon": "FalconForCausalLM",
    "mllama": "MllamaForConditionalGeneration",
    "mllama_text_model": "MllamaForConditionalGeneration",
}


def _architecture(config: Fields) -> str:
    names = config.get("architectures")
    if isinstance(names, list) and names:
        name = str(names[0])
        if name not in ARCHITECTURES:
            hint = _alike(name, ARCHITECTURES, 0.9)
            raise UnsupportedModel(f"architecture {name}{hint}", tuple(ARCHITECTURES))
        return name
    kind = config.get("model_type")
    if kind is None:
        raise ValueError("architectures is missing, and so is model_type: one of them is needed")
    if str(kind) not in _MODEL_TYPES:
        hint = _alike(str(kind), _MODEL_TYPES, 0.7)
        raise UnsupportedModel(f"model_type {kind!r}{hint}", tuple(_MODEL_TYPES))
    return _MODEL_TYPES[str(kind)]


def _alike(name: str, known: Iterable[str], cutoff: float) -> str:
    """The known name that this one is a slip of, as a part of an error text; or ""."""
    found = get_close_matches(name, list(known), n=1, cutoff=cutoff)
    return f" (did you mean {found[0]}?)" if found else ""


def _kinds(config: Fields, kind: LayerKind, every: int = 0) -> tuple[LayerKind, ...]:
    """What each layer sees: as the config lists it, or `kind` but for each `every`-th layer."""
    num_layers = needed(config, "num_hidden_layers")
    listed = config.get("layer_types")
    if listed is None:
        return tuple(
            "full" if every and (layer + 1) % every == 0 else kind for layer in range(num_layers)
        )
    words: dict[str, LayerKind] = {"full_attention": "full", "sliding_attention": "sliding"}
    if not isinstance(listed, list) or any(word not in words for word in listed):
        raise ValueError(f"layer_types (={listed!r}) must be a list of {', '.join(words)}")
    return tuple(words[word] for word in listed)


def activation(config: Fields, name: str, default: str = "silu") -> Activation:
    """The activation that a field names."""
    given = config.get(name) or default
    if given not in ACTIVATIONS:
        raise UnsupportedModel(f"activation {given}", tuple(ACTIVATIONS))
    return ACTIVATIONS[given]


def rope(config: Fields, default_theta: float = 10000.0) -> tuple[float, RopeScaling | None]:
    """The rotary base, and how its frequencies are stretched."""
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise ValueError(f"rope_scaling (={parameters!r}) must be an object")
    theta = real(parameters, "rope_theta", real(config, "rope_theta", default_theta))
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind not in ROPE_TYPES:
        raise UnsupportedModel(f"rotary scaling {kind}", ROPE_TYPES)
    if kind == "default":
        return theta, None
    factor = real(parameters, "factor")
    if kind == "linear":
        return theta, LinearScaling(factor)
    context = whole(
        parameters, "original_max_position_embeddings", config.get("max_position_embeddings")
    )
    if kind == "llama3":
        low, high = (real(parameters, f"{which}_freq_factor") for which in ("low", "high"))
        return theta, Llama3Scaling(factor, low, high, context)
    given = parameters.get("attention_factor")
    return theta, YarnScaling(
        factor,
        context,
        beta_fast=real(parameters, "beta_fast", 32.0),
        beta_slow=real(parameters, "beta_slow", 1.0),
        attention_factor_given=None if given is None else real(parameters, "attention_factor"),
        truncate=flag(parameters, "truncate", True),
    )


def needed(config: Fields, name: str) -> int:
    """A field that no model can be without, and that is a whole number."""
    if config.get(name) is None:
        others = [key for key in config if key not in READ_FIELDS]
        raise ValueError(f"{name} is missing{_alike(name, others, 0.8)}")
    return whole(config, name)


def whole(config: Fields, name: str, default: int | None = None) -> int:
    """A field that is a whole number."""
    value = config.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} (={value!r}) must be a whole number")
    return value


def real(config: Fields, name: str, default: float | None = None) -> float:
    """A field that is a finite number."""
    value = config.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        raise ValueError(f"{name} (={value!r}) must be a finite number")
    return float(value)


def flag(config: Fields, name: str, default: bool = False) -> bool:
    """A field that is true or false."""
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} (={value!r}) must be true or false")
    return default if value is None else value


def _ids(config: Fields, name: str) -> tuple[int, ...]:
    value = config.get(name)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(item, bool) or not isinstance(item, int) or item < 0 for item in values):
        raise ValueError(f"{name} (={value!r}) must be a token id or a list of them")
    return tuple(values)
