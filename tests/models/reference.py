"""A Llama forward pass in plain numpy, on one device and whole: the oracle of sharded layers.

float32 throughout, no cache, no cleverness: every step is the formula. Held against logits of
transformers in test_reference.py.

Legend: S sequence, D hidden, N query heads, K key heads, H head dim, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from meshtwin.models.config import DecoderConfig
from meshtwin.models.rotary import rotary_tables
from meshtwin.models.shapes import layer_shapes, open_folder

Array = npt.NDArray[np.float32]


class ReferenceLlama:
    """A checkpoint widened to float32, with a forward pass over whole sequences."""

    def __init__(self, folder: str | Path) -> None:
        self.config, self.checkpoint = open_folder(folder)
        self.embed_VD = self.checkpoint.read_float32("model.embed_tokens.weight")
        self.norm_D = self.checkpoint.read_float32("model.norm.weight")
        tied = self.config.tie_word_embeddings
        self.head_VD = self.embed_VD if tied else self.checkpoint.read_float32("lm_head.weight")
        self.layers = [self._layer(number) for number in range(self.config.num_layers)]

    def _layer(self, number: int) -> dict[str, Array]:
        names = layer_shapes(self.config)
        read = self.checkpoint.read_float32
        return {name: read(f"model.layers.{number}.{name}") for name in names}

    def forward(self, ids: Sequence[int]) -> Array:
        """Logits [S, V] of every position."""
        x_SD = self.embed_VD[np.asarray(ids)]
        with np.errstate(under="ignore"):  # of exp(score), where a score is far under the best
            for layer in self.layers:
                x_SD = decoder_layer(self.config, layer, x_SD)
            return rms_norm(x_SD, self.norm_D, self.config.rms_norm_eps) @ self.head_VD.T

    def greedy(self, ids: Sequence[int], max_new_tokens: int) -> list[int]:
        """The likeliest next tokens, up to and with an end-of-text token."""
        new: list[int] = []
        while len(new) < max_new_tokens and not set(new) & set(self.config.eos_token_ids):
            new.append(int(np.argmax(self.forward([*ids, *new])[-1])))
        return new


def decoder_layer(config: DecoderConfig, layer: dict[str, Array], x_SD: Array) -> Array:
    """x + attention(norm(x)), then x + mlp(norm(x))."""
    normed_SD = rms_norm(x_SD, layer["input_layernorm.weight"], config.rms_norm_eps)
    x_SD = x_SD + self_attention(config, layer, normed_SD)
    normed_SD = rms_norm(x_SD, layer["post_attention_layernorm.weight"], config.rms_norm_eps)
    gate_SF = linear(layer, "mlp.gate_proj", normed_SD)
    gated_SF = gate_SF * sigmoid(gate_SF) * linear(layer, "mlp.up_proj", normed_SD)
    return x_SD + linear(layer, "mlp.down_proj", gated_SF)


def self_attention(config: DecoderConfig, layer: dict[str, Array], x_SD: Array) -> Array:
    """Causal attention with grouped heads and rotary positions 0 .. S-1."""
    length = len(x_SD)
    q_NSH = rotate(config, heads(linear(layer, "self_attn.q_proj", x_SD), config.num_heads))
    k_KSH = rotate(config, heads(linear(layer, "self_attn.k_proj", x_SD), config.num_kv_heads))
    v_KSH = heads(linear(layer, "self_attn.v_proj", x_SD), config.num_kv_heads)
    group = config.num_heads // config.num_kv_heads
    k_NSH, v_NSH = np.repeat(k_KSH, group, axis=0), np.repeat(v_KSH, group, axis=0)
    scores_NSS = q_NSH @ k_NSH.swapaxes(1, 2) * np.float32(config.head_dim**-0.5)
    is_seen_SS = np.tri(length, dtype=bool)
    scores_NSS = np.where(is_seen_SS, scores_NSS, -np.inf)
    mixed_NSH = softmax(scores_NSS) @ v_NSH
    return linear(layer, "self_attn.o_proj", mixed_NSH.swapaxes(0, 1).reshape(length, -1))


def heads(x: Array, num_heads: int) -> Array:
    """[S, N*H] to [N, S, H]."""
    return x.reshape(len(x), num_heads, -1).swapaxes(0, 1)


def rotate(config: DecoderConfig, x_NSH: Array) -> Array:
    """Turn dims i and i + H/2 of each head by the angle of its position."""
    cos_SH, sin_SH = rotary_tables(config, x_NSH.shape[1])
    half = x_NSH.shape[-1] // 2
    crossed_NSH: Array = np.concatenate([-x_NSH[..., half:], x_NSH[..., :half]], axis=-1)
    turned_NSH: Array = x_NSH * cos_SH + crossed_NSH * sin_SH
    return turned_NSH


def linear(layer: dict[str, Array], name: str, x: Array) -> Array:
    """x W^T + b; weights are stored [out, in]."""
    y = x @ layer[f"{name}.weight"].T
    return y + layer[f"{name}.bias"] if f"{name}.bias" in layer else y


def rms_norm(x: Array, weight: Array, eps: float) -> Array:
    """x / sqrt(mean(x^2) + eps) * weight, over the last dim."""
    mean_square: Array = np.mean(x * x, axis=-1, keepdims=True)
    normed: Array = x / np.sqrt(mean_square + np.float32(eps)) * weight
    return normed


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), written so that nothing overflows."""
    y: Array = np.float32(0.5) * (np.float32(1) + np.tanh(np.float32(0.5) * x))
    return y


def softmax(x: Array) -> Array:
    """exp(x) / sum(exp(x)) over the last dim, of values shifted under 0."""
    weights: Array = np.exp(x - x.max(axis=-1, keepdims=True))
    shares: Array = weights / weights.sum(axis=-1, keepdims=True)
    return shares
