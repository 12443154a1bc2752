"""A Llama decoder on one chip of a mesh: its layers, its cache, prefill and decode.

Prefill takes the tokens of one user, who are the rows of tiles: x [1, S, D]. Decode takes a token
of every user, and there the users are the rows: x [1, 1, B, D].

Legend: B users, S positions, D model, V vocabulary, H head dim, L room of the cache in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..chip.errors import InvalidArgument
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip
from .config import DecoderConfig
from .kv_cache import KvCache
from .layers.block import Block
from .layers.embedding import VocabularyEmbedding, VocabularyHead
from .layers.norm import Norm
from .layers.rotary import Rotary
from .precision import Precision
from .rotary import rotary_tables
from .step import Decode, Prefill, Step


@dataclass(slots=True)
class Decoder:
    """The chip's part of a model, and the cache of the sequences under way."""

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
        """Begin new sequences of `batch` users, each with room for `max_length` tokens.

        The old cache is freed first.

        Raises:
            OutOfMemory: the cache does not fit the chip's DRAM; the next `start` may.
        """
        self.cache = self.rotary = self.local_rotary = None
        shape = (batch, self.num_kv_heads, max_length, self.config.head_dim)
        self.cache = KvCache.allocate(chip, self.config.num_layers, shape, self.precision.kv_cache)
        self.rotary = self._rotary(chip, max_length, is_local=False)
        if self.config.local_rope_theta is not None:
            self.local_rotary = self._rotary(chip, max_length, is_local=True)

    def prefill(
        self, chip: MeshChip, ids_S: NDArray[np.int32], user: int = 0, every: bool = False
    ) -> Tensor:
        """Append tokens to one user's sequence; the logits of the chip's part of the vocabulary.

        In simulated time a decode step is a trace that the chip replays; the ops of a prefill are
        dispatched one by one.

        Args:
            every: logits of all S positions, not of the last one only.
        Returns:
            [1, S or 1, the chip's part of V].
        Raises:
            InvalidArgument: there is no such user, or no such room; or one of many users has tokens
                already (a prompt goes in whole).
        """
        cache = self._cache
        if not 0 <= user < cache.num_users:
            raise InvalidArgument(f"user (={user}) must be within 0 .. {cache.num_users - 1}")
        start, length = cache.lengths[user], len(ids_S)
        if start and cache.num_users > 1:
            raise InvalidArgument(
                f"user {user} of {cache.num_users} has {start} tokens (expected none: in a batch, "
                "a prompt goes in whole)"
            )
        with chip.untraced():
            x_1SD = self._layers(chip, ids_S[None], Prefill(start, user))
            cache.lengths[user] += length
            if length > 1 and not every:
                x_1SD = chip.slice(x_1SD, (0, length - 1, 0), (1, length, x_1SD.shape[2]))
            return self._logits(chip, x_1SD)

    def decode(self, chip: MeshChip, ids_B: NDArray[np.int32]) -> Tensor:
        """Append one token to each user's sequence; users may stand at different positions.

        Args:
            ids_B: token ids [B], one for each user of `start`; -1 leaves a user as it is.
        Returns:
            Logits [1, 1, B, the chip's part of V].
        Raises:
            InvalidArgument: there are more or fewer ids than users, or a user has no room.
        """
        cache = self._cache
        if ids_B.shape != (cache.num_users,):
            raise InvalidArgument(
                f"ids {ids_B.shape} (expected {(cache.num_users,)}, one for each user)"
            )
        sits_out = (ids_B < 0).tolist()
        states = list(zip(cache.lengths, sits_out, strict=True))
        positions = tuple(-1 if out else length for length, out in states)
        x_11BD = self._layers(chip, np.maximum(ids_B, 0)[None, None], Decode(positions))
        cache.lengths = [length + (not out) for length, out in states]
        return self._logits(chip, x_11BD)

    @property
    def _cache(self) -> KvCache:
        assert self.cache is not None, "start comes before prefill and decode"
        return self.cache

    def _layers(self, chip: MeshChip, ids: NDArray[np.int32], step: Step) -> Tensor:
        """The embedding of the ids, through all blocks: [..., D]."""
        assert self.rotary is not None
        rotary = self.rotary.rows(chip, step, ids.shape[-1])
        local = rotary
        if self.local_rotary is not None:
            local = self.local_rotary.rows(chip, step, ids.shape[-1])
        with chip.scope("embedding"):
            x = self.embedding(chip, chip.tensor(ids, DType.INT32, what="token ids"))
        for layer, (block, cache) in enumerate(zip(self.blocks, self._cache.layers, strict=True)):
            tables = local if block.attention.window is not None else rotary
            with chip.scope(f"layer {layer}"):
                x = block(chip, x, tables, cache, step)
        return x

    def _logits(self, chip: MeshChip, x: Tensor) -> Tensor:
        with chip.scope("head"):
            return self.head(chip, self.norm(chip, x))

    def _rotary(self, chip: MeshChip, max_length: int, is_local: bool) -> Rotary:
        dtype = self.precision.activations
        tables = rotary_tables(self.config, max_length, is_local=is_local)
        return Rotary(
            chip.tensor(tables.cos_SH, dtype, what="rotary cos"),
            chip.tensor(tables.sin_SH, dtype, what="rotary sin"),
        )
