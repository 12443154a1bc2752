"""Causal attention with grouped kv heads, its heads dealt out to the chips.

Legend: B batch, S sequence, D model, N the chip's query heads, K its kv heads, H head dim.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...chip.compute_config import ComputeConfig
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..kv_cache import LayerCache


@dataclass(frozen=True, slots=True)
class Rotary:
    """The rotary tables, [S, H] each."""

    cos_SH: Tensor
    sin_SH: Tensor

    def rows(self, chip: MeshChip, start: int, length: int) -> Rotary:
        """The tables of positions start..start+length."""
        begin, end = (start, 0), (start + length, self.cos_SH.shape[1])
        return Rotary(chip.slice(self.cos_SH, begin, end), chip.slice(self.sin_SH, begin, end))


@dataclass(frozen=True, slots=True)
class Attention:
    """q, k and v by rows (heads), o by columns, one all_reduce.

    A bias of o is on chip 0 only, so that the sum has it once.
    """

    qkv_weight: Tensor  # [(N + 2 K) H, D]
    output_weight: Tensor  # [D, N H]
    num_query_heads: int
    num_kv_heads: int
    qkv_bias: Tensor | None = None
    output_bias: Tensor | None = None
    compute: ComputeConfig | None = None

    def __call__(
        self, chip: MeshChip, x_BSD: Tensor, rotary: Rotary, cache: LayerCache, start: int
    ) -> Tensor:
        """x [B, S, D] at positions start..start+S to [B, S, D], the same on every chip.

        The keys and values of these positions are written into the cache.
        """
        qkv = chip.linear(x_BSD, self.qkv_weight, self.qkv_bias, self.compute)
        q_BNSH, k_BKSH, v_BKSH = chip.create_heads(qkv, self.num_query_heads, self.num_kv_heads)
        q_BNSH = chip.rotary_embedding(q_BNSH, rotary.cos_SH, rotary.sin_SH)
        k_BKSH = chip.rotary_embedding(k_BKSH, rotary.cos_SH, rotary.sin_SH)
        chip.update_cache(cache.k_BKLH, k_BKSH, start)
        chip.update_cache(cache.v_BKLH, v_BKSH, start)
        mixed_BNSH = chip.attention(q_BNSH, cache.k_BKLH, cache.v_BKLH, start)
        mixed = chip.concat_heads(mixed_BNSH)
        out = chip.linear(mixed, self.output_weight, self.output_bias, self.compute)
        return chip.all_reduce(out)
