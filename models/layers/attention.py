"""Causal attention with grouped kv heads, its heads dealt out to the chips.

Legend: B users, S positions of one of them, D model, N the chip's query heads, K its kv heads,
H head dim.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...chip.compute_config import ComputeConfig
from ...chip.dtype import DType
from ...chip.tensor import Tensor
from ...mesh.program import MeshChip
from ..kv_cache import LayerCache
from ..step import Decode, Prefill, Step
from .norm import RmsNorm, SplitRmsNorm
from .rotary import Rotary


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
        self, chip: MeshChip, x: Tensor, rotary: Rotary, cache: LayerCache, step: Step
    ) -> Tensor:
        """x [1, S, D] (prefill) or [1, 1, B, D] (decode) to the same, alike on every chip.

        The keys and values of the step's positions are written into the cache.
        """
        qkv = chip.linear(x, self.qkv_weight, self.qkv_bias, self.compute)
        if isinstance(self.query_norm, SplitRmsNorm):
            qkv = self._norm_all(chip, qkv)
        create = chip.create_heads_decode if isinstance(step, Decode) else chip.create_heads
        q, k, v = create(qkv, self.num_query_heads, self.num_kv_heads)
        if isinstance(self.query_norm, RmsNorm) and isinstance(self.key_norm, RmsNorm):
            q, k = self.query_norm(chip, q), self.key_norm(chip, k)
        q = chip.rotary_embedding(q, rotary.cos, rotary.sin)
        k = chip.rotary_embedding(k, rotary.cos, rotary.sin)
        if isinstance(step, Decode):
            mixed = self._decode(chip, q, k, v, cache, step.positions)
        else:
            mixed = self._prefill(chip, q, k, v, cache, step)
        out = chip.linear(mixed, self.output_weight, self.output_bias, self.compute)
        return chip.all_reduce(out)

    def _decode(
        self,
        chip: MeshChip,
        q_1BNH: Tensor,
        k_1BKH: Tensor,
        v_1BKH: Tensor,
        cache: LayerCache,
        positions: tuple[int, ...],
    ) -> Tensor:
        """What each user's heads attend to, side by side: [1, 1, B, N H]."""
        chip.paged_update_cache(cache.k_BKLH, k_1BKH, positions)
        chip.paged_update_cache(cache.v_BKLH, v_1BKH, positions)
        mixed_1BNH = chip.scaled_dot_product_attention_decode(
            q_1BNH,
            cache.k_BKLH,
            cache.v_BKLH,
            positions,
            scale=self.scale,
            sliding_window_size=self.window,
            attention_sink=self.sinks,
            compute=self.mix_compute,
        )
        return chip.concat_heads_decode(mixed_1BNH)

    def _prefill(
        self,
        chip: MeshChip,
        q_1NSH: Tensor,
        k_1KSH: Tensor,
        v_1KSH: Tensor,
        cache: LayerCache,
        step: Prefill,
    ) -> Tensor:
        """What the heads of one user's positions attend to, side by side: [1, S, N H].

        The first positions attend to each other as the cache holds them; later ones to the cache,
        which is then of one user.
        """
        if step.start == 0:
            k, v = (_held(chip, x, cache.k_BKLH.dtype) for x in (k_1KSH, v_1KSH))
            chip.fill_cache(cache.k_BKLH, k, step.user)
            chip.fill_cache(cache.v_BKLH, v, step.user)
        else:
            k, v = cache.k_BKLH, cache.v_BKLH
            chip.update_cache(k, k_1KSH, step.start)
            chip.update_cache(v, v_1KSH, step.start)
        if self.window is None and self.sinks is None:
            mixed_1NSH = chip.attention(q_1NSH, k, v, step.start, self.scale, self.mix_compute)
        else:
            mixed_1NSH = chip.windowed_attention(
                q_1NSH, k, v, step.start, self.scale, self.window, self.sinks, self.mix_compute
            )
        return chip.concat_heads(mixed_1NSH)

    def _norm_all(self, chip: MeshChip, qkv: Tensor) -> Tensor:
        """q and k normalised over all heads of all chips; v as it is."""
        assert self.query_norm is not None and self.key_norm is not None
        head = qkv.shape[-1] // (self.num_query_heads + 2 * self.num_kv_heads)
        ends = self.num_query_heads * head, (self.num_query_heads + self.num_kv_heads) * head
        *rows, width = qkv.shape
        q, k, v = (
            chip.slice(qkv, (*(0 for _ in rows), begin), (*rows, end))
            for begin, end in zip((0, *ends), (*ends, width), strict=True)
        )
        return chip.concat([self.query_norm(chip, q), self.key_norm(chip, k), v], dim=-1)


def _held(chip: MeshChip, x: Tensor, dtype: DType) -> Tensor:
    """x as a cache of that format holds it."""
    return x if x.dtype is dtype else chip.typecast(x, dtype)
