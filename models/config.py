"""The shape of a Llama-like decoder, read from a Hugging Face config.json.

Both spellings are read: `rope_theta` with `rope_scaling` (transformers 4) and
`rope_parameters` (transformers 5); `torch_dtype` and `dtype`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from .errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedModel

ARCHITECTURES = ("LlamaForCausalLM",)
ROPE_TYPES = ("default", "llama3")
DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's stretch of the low rotary frequencies.

    Source: transformers, modeling_rope_utils._compute_llama3_parameters.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ValueError(f"factor (={self.factor}) must be >= 1")
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            raise ValueError(
                f"low_freq_factor (={self.low_freq_factor}) must be > 0 and under "
                f"high_freq_factor (={self.high_freq_factor})"
            )
        if self.original_max_position_embeddings < 1:
            raise ValueError(
                "original_max_position_embeddings "
                f"(={self.original_max_position_embeddings}) must be >= 1"
            )


@dataclass(frozen=True, slots=True)
class LlamaConfig:
    """Sizes and constants of a Llama-like decoder; head_dim need not be hidden_size/num_heads."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False
    bos_token_ids: tuple[int, ...] = ()
    eos_token_ids: tuple[int, ...] = ()
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in _SIZES:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} (={getattr(self, name)}) must be >= 1")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads (={self.num_heads}) must be a multiple of "
                f"num_kv_heads (={self.num_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim (={self.head_dim}) must be even: rotary halves it")
        if not self.rms_norm_eps > 0 or not self.rope_theta > 0:
            raise ValueError(
                f"rms_norm_eps (={self.rms_norm_eps}) and rope_theta (={self.rope_theta}) "
                "must be > 0"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype (={self.dtype!r}) must be one of {', '.join(DTYPES)}")

    @classmethod
    def from_folder(cls, path: str | Path) -> Self:
        """Read config.json, and the end-of-text ids of generation_config.json where it is there.

        Raises:
            CheckpointNotFound: no folder, or no config.json in it.
            CorruptCheckpoint: not JSON, a field is missing, or its value is impossible.
            UnsupportedModel: another architecture, activation or rotary scaling.
        """
        folder = Path(path)
        config = read_json(folder / "config.json")
        generation_path = folder / "generation_config.json"
        generation = read_json(generation_path) if generation_path.exists() else {}
        try:
            return cls.from_hf(config, generation)
        except (TypeError, ValueError) as error:
            raise CorruptCheckpoint(folder / "config.json", str(error)) from error

    @classmethod
    def from_hf(
        cls, config: Mapping[str, Any], generation: Mapping[str, Any] | None = None
    ) -> Self:
        """Translate Hugging Face's fields; ids in the generation config win over the config's.

        Raises: UnsupportedModel, or ValueError naming the field and its value.
        """
        _check_supported(config)
        ids = {**config, **{k: v for k, v in (generation or {}).items() if v is not None}}
        num_heads = _whole(config, "num_attention_heads")
        hidden_size = _whole(config, "hidden_size")
        theta, scaling = _rope(config)
        return cls(
            vocab_size=_whole(config, "vocab_size"),
            hidden_size=hidden_size,
            intermediate_size=_whole(config, "intermediate_size"),
            num_layers=_whole(config, "num_hidden_layers"),
            num_heads=num_heads,
            num_kv_heads=_whole(config, "num_key_value_heads", num_heads),
            head_dim=_whole(config, "head_dim", hidden_size // max(num_heads, 1)),
            max_position_embeddings=_whole(config, "max_position_embeddings", 2048),
            rms_norm_eps=_real(config, "rms_norm_eps", 1e-6),
            rope_theta=theta,
            rope_scaling=scaling,
            tie_word_embeddings=_flag(config, "tie_word_embeddings"),
            attention_bias=_flag(config, "attention_bias"),
            mlp_bias=_flag(config, "mlp_bias"),
            bos_token_ids=_ids(ids, "bos_token_id"),
            eos_token_ids=_ids(ids, "eos_token_id"),
            dtype=_dtype(config),
        )


_SIZES = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_dim",
    "max_position_embeddings",
)


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a checkpoint.

    Raises: CheckpointNotFound, or CorruptCheckpoint where it is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise CheckpointNotFound(path.parent, f"no {path.name}") from None
    except OSError as error:
        raise CheckpointNotFound(path.parent, f"{path.name}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(path, f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CorruptCheckpoint(path, f"expected a JSON object, found {type(value).__name__}")
    return value


def _check_supported(config: Mapping[str, Any]) -> None:
    names = config.get("architectures")
    if isinstance(names, list) and names:
        architecture = str(names[0])
    else:
        architecture = {"llama": ARCHITECTURES[0]}.get(
            str(config.get("model_type")), f"model_type {config.get('model_type')!r}"
        )
    if architecture not in ARCHITECTURES:
        raise UnsupportedModel(f"architecture {architecture}", ARCHITECTURES)
    activation = config.get("hidden_act") or "silu"
    if activation not in ("silu", "swish"):
        raise UnsupportedModel(f"activation {activation}", ("silu",))
    if config.get("quantization_config"):
        raise UnsupportedModel("a quantised checkpoint", DTYPES)


def _rope(config: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    parameters = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(parameters, dict):
        raise ValueError(f"rope_scaling (={parameters!r}) must be an object")
    fallback = _real(config, "rope_theta", 10000.0)
    theta = _real(parameters, "rope_theta", fallback)
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind not in ROPE_TYPES:
        raise UnsupportedModel(f"rotary scaling {kind}", ROPE_TYPES)
    if kind == "default":
        return theta, None
    return theta, RopeScaling(
        factor=_real(parameters, "factor"),
        low_freq_factor=_real(parameters, "low_freq_factor"),
        high_freq_factor=_real(parameters, "high_freq_factor"),
        original_max_position_embeddings=_whole(parameters, "original_max_position_embeddings"),
    )


def _dtype(config: Mapping[str, Any]) -> str:
    name = config.get("dtype") or config.get("torch_dtype") or "float32"
    return str(name).removeprefix("torch.")


def _whole(config: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = config.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name} (={value!r}) must be a whole number")
    return value


def _real(config: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = config.get(name)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e30:
        raise ValueError(f"{name} (={value!r}) must be a finite number")
    return float(value)


def _flag(config: Mapping[str, Any], name: str) -> bool:
    value = config.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} (={value!r}) must be true or false")
    return bool(value)


def _ids(config: Mapping[str, Any], name: str) -> tuple[int, ...]:
    value = config.get(name)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(item, bool) or not isinstance(item, int) or item < 0 for item in values):
        raise ValueError(f"{name} (={value!r}) must be a token id or a list of them")
    return tuple(values)
