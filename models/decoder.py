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
from .config import DecoderConfig
from .kv_cache import KvCache
from .layers.attention import Rotary
from .layers.block import Block
from .layers.embedding import VocabularyEmbedding, VocabularyHead
from .layers.norm import Norm
from .precision import Precision
from .rotary import rotary_tables


@dataclass(slots=True)
class Decoder:
    """The chip's part of a model, and the cache of the sequence under way."""

    config: DecoderConfig
    precision: Precision
    num_kv_heads: int  # on this chip, padding included
    embedding: VocabularyEmbedding
    blocks: tuple[Block, ...]
    norm: Norm
    head: VocabularyHead
    rotary: Rotary | None = None
    local_rotary: Rotary | None = None  # of the sliding layers, where they turn otherwise
    cache: KvCache | None = None

    def start(self, chip: MeshChip, batch: int, max_length: int) -> None:
        """Begin a new sequence with room for `max_length` tokens; the old cache is freed first.

        Raises:
            OutOfMemory: the cache does not fit the chip's DRAM; the next `start` may.
        """
        self.cache = self.rotary = self.local_rotary = None
        shape = (batch, self.num_kv_heads, max_length, self.config.head_dim)
        self.cache = KvCache.allocate(chip, self.config.num_layers, shape, self.precision.kv_cache)
        self.rotary = self._rotary(chip, max_length, is_local=False)
        if self.config.local_rope_theta is not None:
            self.local_rotary = self._rotary(chip, max_length, is_local=True)

    def forward(self, chip: MeshChip, ids_BS: NDArray[np.int32], every: bool = False) -> Tensor:
        """Append tokens to the sequence; the logits of the chip's part of the vocabulary.

        In simulated time a decode step is a trace that the chip replays; the ops of a prefill are
        dispatched one by one.

        Args:
            ids_BS: token ids [B, S]; S > 1 is prefill, S = 1 decode.
            every: logits of all S positions, not of the last one only.
        Returns:
            [B, S or 1, the chip's part of V].
        """
        if ids_BS.shape[1] == 1:
            return self._forward(chip, ids_BS, every)
        with chip.untraced():
            return self._forward(chip, ids_BS, every)

    def _forward(self, chip: MeshChip, ids_BS: NDArray[np.int32], every: bool) -> Tensor:
        assert self.cache is not None and self.rotary is not None, "start comes before forward"
        begin, length = self.cache.length, ids_BS.shape[1]
        rotary = self.rotary.rows(chip, begin, length)
        local = rotary if self.local_rotary is None else self.local_rotary.rows(chip, begin, length)
        with chip.scope("embedding"):
            x_BSD = self.embedding(chip, chip.tensor(ids_BS, DType.INT32, what="token ids"))
        for layer, (block, cache) in enumerate(zip(self.blocks, self.cache.layers, strict=True)):
            tables = local if block.attention.window is not None else rotary
            with chip.scope(f"layer {layer}"):
                x_BSD = block(chip, x_BSD, tables, cache, begin)
        self.cache.length += length
        if length > 1 and not every:
            batch, _, width = x_BSD.shape
            x_BSD = chip.slice(x_BSD, (0, length - 1, 0), (batch, length, width))
        with chip.scope("head"):
            return self.head(chip, self.norm(chip, x_BSD))

    def _rotary(self, chip: MeshChip, max_length: int, is_local: bool) -> Rotary:
        dtype = self.precision.activations
        tables = rotary_tables(self.config, max_length, is_local=is_local)
        return Rotary(
            chip.tensor(tables.cos_SH, dtype, what="rotary cos"),
            chip.tensor(tables.sin_SH, dtype, what="rotary sin"),
        )
