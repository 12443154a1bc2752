"""The shape of a decoder: its sizes, and which of the known variants each part is.

Legend of field names: D model (`hidden_size`), F intermediate, H head dim, V vocabulary.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .errors import CheckpointNotFound, CorruptCheckpoint
from .rope_scaling import RopeScaling

DTYPES = ("float32", "bfloat16", "float16")

NormKind = Literal["rms", "layer"]
NormPlacement = Literal["before", "after", "around", "parallel"]
Activation = Literal["silu", "gelu", "gelu_tanh", "clamped_swiglu"]
QkNorm = Literal["none", "head", "all"]
LayerKind = Literal["full", "sliding"]


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts in place of the MLP.

    Attributes:
        num: experts of a layer.
        per_token: how many of them a token goes to.
        size: intermediate dim of one expert.
        normalised: the weights of the chosen ones are scaled to sum 1.
        has_bias: router and experts have biases.
    """

    num: int
    per_token: int
    size: int
    normalised: bool = True
    has_bias: bool = False

    def __post_init__(self) -> None:
        for name in ("num", "per_token", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"experts: {name} (={getattr(self, name)}) must be >= 1")
        if self.per_token > self.num:
            raise ValueError(f"experts: per_token (={self.per_token}) must be <= num (={self.num})")


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """Sizes and variants of a decoder-only model; the defaults are Llama's.

    Attributes:
        head_dim: need not be hidden_size / num_heads.
        rope_scaling: of the layers that see everything; sliding layers with a theta of their own
            have none.
        qkv_bias, output_bias: of the attention; mlp_bias: of all projections of the MLP.
        qk_norm: an RMS norm of q and k: of each head, or of all heads together.
        query_scale: what scores are multiplied by; None is 1 / sqrt(head_dim).
        has_sinks: a learnt logit a head takes part in the softmax and is then dropped.
        sliding_window: how many positions a sliding layer sees, itself included.
        layer_kinds: of each layer; empty means that all are "full".
        local_rope_theta: rotary base of sliding layers; None: the same as of the others.
        norm: RMS norm, or layer norm with bias.
        norm_offset: added to each norm weight of the checkpoint (Gemma stores weight - 1).
        norm_placement: norms before attention and MLP (Llama), after them (Olmo), around them
            (Gemma), or both on the same input, attention and MLP side by side (Falcon).
        is_gated: the MLP is down(act(gate) * up), else down(act(up)).
        embedding_scale: token embeddings are multiplied by it.
        experts: None for a dense MLP.
    """

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
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: QkNorm = "none"
    query_scale: float | None = None
    has_sinks: bool = False
    sliding_window: int | None = None
    layer_kinds: tuple[LayerKind, ...] = ()
    local_rope_theta: float | None = None
    norm: NormKind = "rms"
    norm_offset: float = 0.0
    norm_placement: NormPlacement = "before"
    activation: Activation = "silu"
    is_gated: bool = True
    embedding_scale: float = 1.0
    experts: Experts | None = None
    bos_token_ids: tuple[int, ...] = ()
    eos_token_ids: tuple[int, ...] = ()
    dtype: str = "float32"
    family: str = "llama"

    def __post_init__(self) -> None:
        for name, written in _SIZES.items():
            if getattr(self, name) < 1:
                raise ValueError(f"{written} (={getattr(self, name)}) must be >= 1")
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_attention_heads (={self.num_heads}) must be a multiple of "
                f"num_key_value_heads (={self.num_kv_heads})"
            )
        if self.head_dim % 2:
            raise ValueError(f"head_dim (={self.head_dim}) must be even: rotary halves it")
        for name in ("rms_norm_eps", "rope_theta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} (={getattr(self, name)}) must be > 0")
        if self.layer_kinds and len(self.layer_kinds) != self.num_layers:
            raise ValueError(
                f"layer_kinds has {len(self.layer_kinds)} entries (expected {self.num_layers})"
            )
        if "sliding" in self.layer_kinds and (self.sliding_window or 0) < 1:
            raise ValueError(f"sliding_window (={self.sliding_window}) must be >= 1")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype (={self.dtype!r}) must be one of {', '.join(DTYPES)}")

    def window_of(self, layer: int) -> int | None:
        """How many positions a layer sees, or None for all before it."""
        is_sliding = bool(self.layer_kinds) and self.layer_kinds[layer] == "sliding"
        return self.sliding_window if is_sliding else None


_SIZES = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "num_kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "max_position_embeddings": "max_position_embeddings",
}
"""Sizes, and what a config.json calls them: the word that errors use."""


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
