"""A Llama decoder on one chip of a mesh: its layers, its cache, and a forward pass.

Legend: B batch, S sequence, D model, V vocabulary, H head dim, L room of the cache in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip
from .config import LlamaConfig
from .kv_cache import KvCache, LayerCache
from .layers.attention import Attention, Rotary
from .layers.embedding import VocabularyEmbedding, VocabularyHead
from .layers.mlp import GatedMlp
from .layers.norm import RmsNorm
from .rotary import rotary_tables


@dataclass(frozen=True, slots=True)
class Block:
    """One decoder layer: attention and MLP, each behind a norm and with a residual around it."""

    attention_norm: RmsNorm
    attention: Attention
    mlp_norm: RmsNorm
    mlp: GatedMlp

    def __call__(
        self, chip: MeshChip, x_BSD: Tensor, rotary: Rotary, cache: LayerCache, start: int
    ) -> Tensor:
        """x [B, S, D] at positions start..start+S to [B, S, D]."""
        mixed = self.attention(chip, self.attention_norm(chip, x_BSD), rotary, cache, start)
        x_BSD = chip.add(x_BSD, mixed)
        return chip.add(x_BSD, self.mlp(chip, self.mlp_norm(chip, x_BSD)))


@dataclass(slots=True)
class Decoder:
    """The chip's part of a model, and the cache of the sequence under way."""

    config: LlamaConfig
    dtype: DType
    num_kv_heads: int  # on this chip, padding included
    embedding: VocabularyEmbedding
    blocks: tuple[Block, ...]
    norm: RmsNorm
    head: VocabularyHead
    rotary: Rotary | None = None
    cache: KvCache | None = None

    def start(self, chip: MeshChip, batch: int, max_length: int) -> None:
        """Begin a new sequence with room for `max_length` tokens; the old cache is freed first.

        Raises:
            OutOfMemory: the cache does not fit the chip's DRAM; the next `start` may.
        """
        self.cache = self.rotary = None
        shape = (batch, self.num_kv_heads, max_length, self.config.head_dim)
        self.cache = KvCache.allocate(chip, self.config.num_layers, shape, self.dtype)
        tables = rotary_tables(self.config, max_length)
        self.rotary = Rotary(
            chip.tensor(tables.cos_SH, self.dtype, what="rotary cos"),
            chip.tensor(tables.sin_SH, self.dtype, what="rotary sin"),
        )

    def forward(self, chip: MeshChip, ids_BS: NDArray[np.int32], every: bool = False) -> Tensor:
        """Append tokens to the sequence; the logits of the chip's part of the vocabulary.

        Args:
            ids_BS: token ids [B, S]; S > 1 is prefill, S = 1 decode.
            every: logits of all S positions, not of the last one only.
        Returns:
            [B, S or 1, the chip's part of V].
        """
        assert self.cache is not None and self.rotary is not None, "start comes before forward"
        begin, length = self.cache.length, ids_BS.shape[1]
        rotary = self.rotary.rows(chip, begin, length)
        with chip.scope("embedding"):
            x_BSD = self.embedding(chip, chip.tensor(ids_BS, DType.INT32, what="token ids"))
        for layer, (block, cache) in enumerate(zip(self.blocks, self.cache.layers, strict=True)):
            with chip.scope(f"layer {layer}"):
                x_BSD = block(chip, x_BSD, rotary, cache, begin)
        self.cache.length += length
        if length > 1 and not every:
            batch, _, width = x_BSD.shape
            x_BSD = chip.slice(x_BSD, (0, length - 1, 0), (batch, length, width))
        with chip.scope("head"):
            return self.head(chip, self.norm(chip, x_BSD))
