"""The names and shapes of a Llama checkpoint's weights, in Hugging Face's words.

A weight is stored [out, in]: V vocabulary, D hidden, F intermediate, Q query heads x head dim,
K key heads x head dim.
"""

from pathlib import Path

from .config import LlamaConfig
from .errors import CorruptCheckpoint
from .weights import Checkpoint


def weight_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor that a checkpoint of this config holds, in the order of use."""
    d, vocabulary = config.hidden_size, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, d)}
    for layer in range(config.num_layers):
        for name, shape in layer_shapes(config).items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    shapes["model.norm.weight"] = (d,)
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (vocabulary, d)
    return shapes


def layer_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """The tensors of one decoder layer, by the names that follow `model.layers.<n>.`."""
    d, f = config.hidden_size, config.intermediate_size
    q, k = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
    shapes: dict[str, tuple[int, ...]] = {"input_layernorm.weight": (d,)}
    attention = {"q_proj": (q, d), "k_proj": (k, d), "v_proj": (k, d), "o_proj": (d, q)}
    for name, shape in attention.items():
        shapes[f"self_attn.{name}.weight"] = shape
        if config.attention_bias:
            shapes[f"self_attn.{name}.bias"] = shape[:1]
    shapes["post_attention_layernorm.weight"] = (d,)
    for name, shape in {"gate_proj": (f, d), "up_proj": (f, d), "down_proj": (d, f)}.items():
        shapes[f"mlp.{name}.weight"] = shape
        if config.mlp_bias:
            shapes[f"mlp.{name}.bias"] = shape[:1]
    return shapes


def check_weights(config: LlamaConfig, checkpoint: Checkpoint) -> None:
    """Raise CorruptCheckpoint unless every weight of the config is there in its shape."""
    for name, shape in weight_shapes(config).items():
        if checkpoint.shape(name) != shape:
            raise CorruptCheckpoint(
                checkpoint.info(name).path,
                f"{name}: the config says {list(shape)}, found {list(checkpoint.shape(name))}",
            )


def open_folder(folder: str | Path) -> tuple[LlamaConfig, Checkpoint]:
    """Open a checkpoint's config and weights, checked against each other.

    Raises: CheckpointNotFound, CorruptCheckpoint, UnsupportedModel.
    """
    config, checkpoint = LlamaConfig.from_folder(folder), Checkpoint(folder)
    check_weights(config, checkpoint)
    return config, checkpoint
