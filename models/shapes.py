"""The weights of a decoder: their names and shapes, in the words of Llama's checkpoints.

Other families store them under other names, or several in one tensor: see stored.py. A weight is
[out, in]: V vocabulary, D hidden, F intermediate, Q query heads x head dim, K key heads x head dim,
E experts.
"""

from pathlib import Path

from .config import DecoderConfig
from .errors import CorruptCheckpoint
from .hugging_face import read_config
from .stored import StoredWeights
from .weights import Checkpoint

Shapes = dict[str, tuple[int, ...]]

NORMS = {
    "before": ("input_layernorm", "post_attention_layernorm"),
    "after": ("post_attention_layernorm", "post_feedforward_layernorm"),
    "around": (
        "input_layernorm",
        "post_attention_layernorm",
        "pre_feedforward_layernorm",
        "post_feedforward_layernorm",
    ),
    "parallel": ("input_layernorm", "post_attention_layernorm"),
}
"""The norms of a layer, by where they stand."""


def weight_shapes(config: DecoderConfig) -> Shapes:
    """Every weight of a model, in the order of use."""
    d, vocabulary = config.hidden_size, config.vocab_size
    shapes: Shapes = {"model.embed_tokens.weight": (vocabulary, d)}
    of_a_layer = layer_shapes(config)
    for layer in range(config.num_layers):
        for name, shape in of_a_layer.items():
            shapes[f"model.layers.{layer}.{name}"] = shape
    shapes |= _norm_shapes(config, "model.norm")
    if not config.tie_word_embeddings:
        shapes["lm_head.weight"] = (vocabulary, d)
    return shapes


def layer_shapes(config: DecoderConfig) -> Shapes:
    """The weights of one decoder layer, by the names that follow `model.layers.<n>.`."""
    d, head = config.hidden_size, config.head_dim
    q, k = config.num_heads * head, config.num_kv_heads * head
    norms = NORMS[config.norm_placement]
    shapes = _norm_shapes(config, norms[0]) if config.norm_placement != "after" else {}
    for name, rows in {"q_proj": q, "k_proj": k, "v_proj": k}.items():
        shapes |= _linear_shapes(f"self_attn.{name}", rows, d, config.qkv_bias)
    shapes |= _linear_shapes("self_attn.o_proj", d, q, config.output_bias)
    if config.qk_norm != "none":
        is_head = config.qk_norm == "head"
        shapes["self_attn.q_norm.weight"] = (head if is_head else q,)
        shapes["self_attn.k_norm.weight"] = (head if is_head else k,)
    if config.has_sinks:
        shapes["self_attn.sinks"] = (config.num_heads,)
    for name in norms if config.norm_placement == "after" else norms[1:]:
        shapes |= _norm_shapes(config, name)
    if config.experts is None:
        return shapes | _mlp_shapes(config, "mlp", config.intermediate_size, config.mlp_bias)
    return shapes | _expert_shapes(config)


def _mlp_shapes(config: DecoderConfig, name: str, size: int, has_bias: bool) -> Shapes:
    d = config.hidden_size
    shapes: Shapes = {}
    for part in ("gate_proj", "up_proj") if config.is_gated else ("up_proj",):
        shapes |= _linear_shapes(f"{name}.{part}", size, d, has_bias)
    return shapes | _linear_shapes(f"{name}.down_proj", d, size, has_bias)


def _expert_shapes(config: DecoderConfig) -> Shapes:
    experts = config.experts
    assert experts is not None
    shapes = _linear_shapes("mlp.gate", experts.num, config.hidden_size, experts.has_bias)
    for expert in range(experts.num):
        name = f"mlp.experts.{expert}"
        shapes |= _mlp_shapes(config, name, experts.size, experts.has_bias)
    return shapes


def _linear_shapes(name: str, rows: int, columns: int, has_bias: bool) -> Shapes:
    weight: Shapes = {f"{name}.weight": (rows, columns)}
    return weight | {f"{name}.bias": (rows,)} if has_bias else weight


def _norm_shapes(config: DecoderConfig, name: str) -> Shapes:
    weight: Shapes = {f"{name}.weight": (config.hidden_size,)}
    return weight | {f"{name}.bias": (config.hidden_size,)} if config.norm == "layer" else weight


def check_weights(config: DecoderConfig, checkpoint: Checkpoint) -> None:
    """Raise CorruptCheckpoint unless every weight of the config is there in its shape."""
    stored = StoredWeights(config, checkpoint)
    for name, shape in weight_shapes(config).items():
        found = stored.shape(name)
        if found != shape:
            raise CorruptCheckpoint(
                checkpoint.info(stored.name_of(name)).path,
                f"{name}: the config says {list(shape)}, found {list(found)}",
            )


def open_folder(folder: str | Path) -> tuple[DecoderConfig, Checkpoint]:
    """Open a checkpoint's config and weights, checked against each other.

    Raises: CheckpointNotFound, CorruptCheckpoint, UnsupportedModel.
    """
    config, checkpoint = read_config(folder), Checkpoint(folder)
    check_weights(config, checkpoint)
    return config, checkpoint
