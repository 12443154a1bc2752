"""The keys and values of the tokens so far, on the chips."""

from __future__ import annotations

from dataclasses import dataclass

from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Keys and values of one layer, [B, K, L, H]: K the chip's kv heads, L the room in tokens."""

    k_BKLH: Tensor
    v_BKLH: Tensor


@dataclass(slots=True)
class KvCache:
    """The cache of all layers and the number of positions filled so far."""

    layers: tuple[LayerCache, ...]
    length: int = 0

    @staticmethod
    def allocate(
        chip: MeshChip, num_layers: int, shape_BKLH: tuple[int, int, int, int], dtype: DType
    ) -> KvCache:
        """Room on the chip for every layer, zeroed.

        Raises:
            OutOfMemory: it does not fit the chip's DRAM.
        """
        layers = tuple(
            LayerCache(
                chip.zeros(shape_BKLH, dtype, what="kv_cache"),
                chip.zeros(shape_BKLH, dtype, what="kv_cache"),
            )
            for _ in range(num_layers)
        )
        return KvCache(layers)
