"""Causal attention with grouped kv heads, its heads dealt out to the chips.

Legend: B batch, S sequence, D model, N the chip's query heads, K its kv heads, H head dim.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...chip.compute_config import ComputeConfig
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..kv_cache import LayerCache
from .norm import RmsNorm, SplitRmsNorm


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
    query_norm: RmsNorm | SplitRmsNorm | None = None  # of each head, or of all heads together
    key_norm: RmsNorm | SplitRmsNorm | None = None
    scale: float | None = None  # None: 1 / sqrt(H)
    window: int | None = None  # positions that a query sees, itself included
    sinks: Tensor | None = None  # [1, N, 1, 1]
    compute: ComputeConfig | None = None  # of the linear layers
    mix_compute: ComputeConfig | None = None  # of scores, softmax and values

    def __call__(
        self, chip: MeshChip, x_BSD: Tensor, rotary: Rotary, cache: LayerCache, start: int
    ) -> Tensor:
        """x [B, S, D] at positions start..start+S to [B, S, D], the same on every chip.

        The keys and values of these positions are written into the cache.
        """
        qkv = chip.linear(x_BSD, self.qkv_weight, self.qkv_bias, self.compute)
        if isinstance(self.query_norm, SplitRmsNorm):
            qkv = self._norm_all(chip, qkv)
        q_BNSH, k_BKSH, v_BKSH = chip.create_heads(qkv, self.num_query_heads, self.num_kv_heads)
        if isinstance(self.query_norm, RmsNorm) and isinstance(self.key_norm, RmsNorm):
            q_BNSH, k_BKSH = self.query_norm(chip, q_BNSH), self.key_norm(chip, k_BKSH)
        q_BNSH = chip.rotary_embedding(q_BNSH, rotary.cos_SH, rotary.sin_SH)
        k_BKSH = chip.rotary_embedding(k_BKSH, rotary.cos_SH, rotary.sin_SH)
        chip.update_cache(cache.k_BKLH, k_BKSH, start)
        chip.update_cache(cache.v_BKLH, v_BKSH, start)
        mixed_BNSH = self._mix(chip, q_BNSH, cache, start)
        mixed = chip.concat_heads(mixed_BNSH)
        out = chip.linear(mixed, self.output_weight, self.output_bias, self.compute)
        return chip.all_reduce(out)

    def _mix(self, chip: MeshChip, q_BNSH: Tensor, cache: LayerCache, start: int) -> Tensor:
        """The values that each query attends to."""
        k_BKLH, v_BKLH = cache.k_BKLH, cache.v_BKLH
        if self.window is None and self.sinks is None:
            return chip.attention(q_BNSH, k_BKLH, v_BKLH, start, self.scale, self.mix_compute)
        return chip.windowed_attention(
            q_BNSH, k_BKLH, v_BKLH, start, self.scale, self.window, self.sinks, self.mix_compute
        )

    def _norm_all(self, chip: MeshChip, qkv: Tensor) -> Tensor:
        """q and k normalised over all heads of all chips; v as it is."""
        assert self.query_norm is not None and self.key_norm is not None
        head = qkv.shape[-1] // (self.num_query_heads + 2 * self.num_kv_heads)
        ends = self.num_query_heads * head, (self.num_query_heads + self.num_kv_heads) * head
        batch, length, width = qkv.shape
        q, k, v = (
            chip.slice(qkv, (0, 0, begin), (batch, length, end))
            for begin, end in zip((0, *ends), (*ends, width), strict=True)
        )
        return chip.concat([self.query_norm(chip, q), self.key_norm(chip, k), v], dim=-1)
