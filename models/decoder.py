"""A Llama decoder on one chip of a mesh: its layers, its cache, and a forward pass.

Legend: B batch, S sequence, D model, V vocabulary, H head dim, L room of the cache in tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip
from .config import LlamaConfig
from .head_plan import HeadPlan, plan_heads
from .kv_cache import KvCache, LayerCache
from .layers.attention import Attention, Rotary
from .layers.embedding import VocabularyEmbedding, VocabularyHead, padding_mask
from .layers.mlp import GatedMlp
from .layers.norm import RmsNorm
from .loader import Loader, part_of
from .rotary import rotary_tables
from .weights import Checkpoint


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
    heads: HeadPlan
    embedding: VocabularyEmbedding
    blocks: tuple[Block, ...]
    norm: RmsNorm
    head: VocabularyHead
    rotary: Rotary | None = None
    cache: KvCache | None = None

    def start(self, chip: MeshChip, batch: int, max_length: int) -> None:
        """Begin a new sequence with room for `max_length` tokens; the old cache is freed first."""
        self.cache = self.rotary = None
        tables = rotary_tables(self.config, max_length)
        self.rotary = Rotary(
            chip.tensor(tables.cos_SH, self.dtype, what="rotary cos"),
            chip.tensor(tables.sin_SH, self.dtype, what="rotary sin"),
        )
        shape = (batch, self.heads.num_kv_heads, max_length, self.config.head_dim)
        self.cache = KvCache.allocate(chip, self.config.num_layers, shape, self.dtype)

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
        x_BSD = self.embedding(chip, chip.tensor(ids_BS, DType.INT32, what="token ids"))
        for block, cache in zip(self.blocks, self.cache.layers, strict=True):
            x_BSD = block(chip, x_BSD, rotary, cache, begin)
        self.cache.length += length
        if not every:
            batch, _, width = x_BSD.shape
            x_BSD = chip.slice(x_BSD, (0, length - 1, 0), (batch, length, width))
        return self.head(chip, self.norm(chip, x_BSD))


def load_decoder(chip: MeshChip, folder: Path, config: LlamaConfig, dtype: DType) -> Decoder:
    """Read the chip's own slices of a checkpoint and put them on the chip.

    Raises:
        CorruptCheckpoint: a tensor is missing or has another shape than the config says.
        OutOfMemory: the chip's DRAM is full; names the tensor.
    """
    with Checkpoint(folder) as checkpoint:
        return _Build(chip, checkpoint, config, dtype).decoder()


class _Build:
    """Names the tensors of a Hugging Face Llama checkpoint and cuts them for one chip."""

    def __init__(
        self, chip: MeshChip, checkpoint: Checkpoint, config: LlamaConfig, dtype: DType
    ) -> None:
        self.chip, self.config, self.dtype = chip, config, dtype
        self.rank, self.tp_size = chip.rank, chip.num_chips
        self.load = Loader(chip, checkpoint, dtype)
        self.heads = plan_heads(config.num_heads, config.num_kv_heads, self.tp_size)

    def decoder(self) -> Decoder:
        config = self.config
        table = self.load.rows("model.embed_tokens.weight", self.rank, self.tp_size)
        part = part_of(config.vocab_size, self.rank, self.tp_size)
        return Decoder(
            config=config,
            dtype=self.dtype,
            heads=self.heads,
            embedding=VocabularyEmbedding(table, part.start),
            blocks=tuple(self.block(layer) for layer in range(config.num_layers)),
            norm=self.norm("model.norm.weight"),
            head=self.head(table, part.stop - part.start),
        )

    def head(self, table_VcD: Tensor, num_real: int) -> VocabularyHead:
        weight, width = table_VcD, table_VcD.shape[0]
        if not self.config.tie_word_embeddings:
            weight = self.load.rows("lm_head.weight", self.rank, self.tp_size)
        if self.config.vocab_size % self.tp_size == 0:
            return VocabularyHead(weight, None)
        mask = self.chip.tensor(padding_mask(num_real, width), self.dtype, what="logit mask")
        return VocabularyHead(weight, mask)

    def block(self, layer: int) -> Block:
        name = f"model.layers.{layer}."
        return Block(
            self.norm(name + "input_layernorm.weight"),
            self.attention(name + "self_attn."),
            self.norm(name + "post_attention_layernorm.weight"),
            self.mlp(name + "mlp."),
        )

    def norm(self, name: str) -> RmsNorm:
        return RmsNorm(self.load.whole(name), self.config.rms_norm_eps)

    def attention(self, name: str) -> Attention:
        query, kv = self.heads.query_heads(self.rank), self.heads.kv_heads(self.rank)
        dim, has_bias = self.config.head_dim, self.config.attention_bias
        weights = [name + f"{which}_proj.weight" for which in "qkv"]
        biases = [name + f"{which}_proj.bias" for which in "qkv"]
        return Attention(
            qkv_weight=self.load.head_rows(weights, (query, kv, kv), dim),
            output_weight=self.load.head_cols(name + "o_proj.weight", query, dim),
            num_query_heads=self.heads.num_query_heads,
            num_kv_heads=self.heads.num_kv_heads,
            qkv_bias=self.load.head_rows(biases, (query, kv, kv), dim) if has_bias else None,
            output_bias=self.on_first(name + "o_proj.bias") if has_bias else None,
        )

    def mlp(self, name: str) -> GatedMlp:
        rank, tp_size, has_bias = self.rank, self.tp_size, self.config.mlp_bias
        return GatedMlp(
            gate_FcD=self.load.rows(name + "gate_proj.weight", rank, tp_size),
            up_FcD=self.load.rows(name + "up_proj.weight", rank, tp_size),
            down_DFc=self.load.cols(name + "down_proj.weight", rank, tp_size),
            gate_bias_Fc=self.load.rows(name + "gate_proj.bias", rank, tp_size)
            if has_bias
            else None,
            up_bias_Fc=self.load.rows(name + "up_proj.bias", rank, tp_size) if has_bias else None,
            down_bias_D=self.on_first(name + "down_proj.bias") if has_bias else None,
        )

    def on_first(self, name: str) -> Tensor | None:
        """A bias that is added once: on chip 0."""
        return self.load.whole(name) if self.rank == 0 else None
