"""Where the weights of each family lie: under which name, and which rows of it.

A checkpoint is asked in the words of Llama's (see shapes.py); this translates. Falcon and Phi-3
keep q, k and v in one tensor; Falcon head by head: the query heads of a kv head, its key, its
value.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .config import DecoderConfig
from .errors import UnsupportedModel
from .weights import Checkpoint

READABLE = (
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "mixtral",
    "gemma3",
    "olmo3",
    "phi3",
    "falcon",
)
"""Families whose weights can be read; any family can be planned."""

_MIXTRAL = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
_FALCON = {
    "input_layernorm": "ln_attn",
    "post_attention_layernorm": "ln_mlp",
    "self_attn.o_proj": "self_attention.dense",
    "mlp.up_proj": "mlp.dense_h_to_4h",
    "mlp.down_proj": "mlp.dense_4h_to_h",
}
_FALCON_ENDS = {
    "model.embed_tokens": "transformer.word_embeddings",
    "model.norm": "transformer.ln_f",
}


@dataclass(frozen=True, slots=True)
class Place:
    """A weight: a tensor of the checkpoint, or blocks of `block` rows of it (None: all rows)."""

    name: str
    starts: tuple[int, ...] | None = None
    block: int = 0

    def pieces(self, rows: slice | None) -> Iterator[slice | None]:
        """The slices of the tensor's rows that hold the given rows of the weight, in order."""
        if self.starts is None:
            yield rows
            return
        size = len(self.starts) * self.block
        begin, end, _ = (rows or slice(0, size)).indices(size)
        while begin < end:
            number, offset = divmod(begin, self.block)
            take = min(self.block - offset, end - begin)
            start = self.starts[number] + offset
            yield slice(start, start + take)
            begin += take


class StoredWeights:
    """A checkpoint, asked by the names of shapes.py.

    Raises:
        UnsupportedModel: weights of this family cannot be read (it can be planned).
    """

    def __init__(self, config: DecoderConfig, checkpoint: Checkpoint) -> None:
        if config.family not in READABLE:
            raise UnsupportedModel(f"reading weights of {config.family}", READABLE)
        self.config, self.checkpoint = config, checkpoint
        self._prefix = ""
        if config.family == "gemma3":  # the text part of a model that also sees
            for prefix in ("language_model.", "model.language_model."):
                inner = "model." if prefix == "language_model." else ""
                if f"{prefix}{inner}embed_tokens.weight" in checkpoint:
                    self._prefix = prefix + inner

    def name_of(self, name: str) -> str:
        """The tensor of the checkpoint that a weight lies in."""
        return self._place(name).name

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a weight."""
        place = self._place(name)
        shape = self.checkpoint.shape(place.name)
        if place.starts is None:
            return shape
        return (len(place.starts) * place.block, *shape[1:])

    def dtype(self, name: str) -> str:
        """The stored dtype: F32, BF16 or F16."""
        return self.checkpoint.dtype(self._place(name).name)

    def read(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[Any]:
        """Read a slice of a weight, as `Checkpoint.read`."""
        place = self._place(name)
        parts = [self.checkpoint.read(place.name, part, cols) for part in place.pieces(rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def read_float32(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[np.float32]:
        """Read a slice of a weight as float32; exact for every stored dtype."""
        place = self._place(name)
        read = self.checkpoint.read_float32
        parts = [read(place.name, part, cols) for part in place.pieces(rows)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _place(self, name: str) -> Place:
        family = self.config.family
        if family == "phi3":
            return self._phi3(name)
        if family == "falcon":
            return self._falcon(name)
        if family == "mixtral":
            return Place(_mixtral(name))
        if self._prefix:
            return Place(self._prefix + name.removeprefix("model."))
        return Place(name)

    def _phi3(self, name: str) -> Place:
        config = self.config
        q, k = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        fused = {
            "q_proj": ("qkv_proj", 0, q),
            "k_proj": ("qkv_proj", q, k),
            "v_proj": ("qkv_proj", q + k, k),
            "gate_proj": ("gate_up_proj", 0, config.intermediate_size),
            "up_proj": ("gate_up_proj", config.intermediate_size, config.intermediate_size),
        }
        for part, (whole, start, size) in fused.items():
            if f".{part}." in name:
                return Place(name.replace(part, whole), (start,), size)
        return Place(name)

    def _falcon(self, name: str) -> Place:
        stem, _, kind = name.rpartition(".")
        if stem in _FALCON_ENDS:
            return Place(f"{_FALCON_ENDS[stem]}.{kind}")
        if not stem.startswith("model.layers."):
            return Place(name)
        layer, _, part = stem.removeprefix("model.layers.").partition(".")
        begin = f"transformer.h.{layer}."
        if part in _FALCON:
            return Place(f"{begin}{_FALCON[part]}.{kind}")
        kv_heads, head = self.config.num_kv_heads, self.config.head_dim
        group = self.config.num_heads // kv_heads
        blocks = {
            "self_attn.q_proj": [
                g * (group + 2) + i for g in range(kv_heads) for i in range(group)
            ],
            "self_attn.k_proj": [g * (group + 2) + group for g in range(kv_heads)],
            "self_attn.v_proj": [g * (group + 2) + group + 1 for g in range(kv_heads)],
        }[part]
        return Place(
            f"{begin}self_attention.query_key_value.{kind}",
            tuple(block * head for block in blocks),
            head,
        )


def _mixtral(name: str) -> str:
    name = name.replace(".mlp.", ".block_sparse_moe.")
    for part, stored in _MIXTRAL.items():
        name = name.replace(f".{part}.", f".{stored}.")
    return name
