"""The keys and values of the tokens so far, on the chips."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..chip.dtype import DType
from ..chip.tensor import Tensor
from ..mesh.program import MeshChip


@dataclass(frozen=True, slots=True)
class LayerCache:
    """Keys and values of one layer, [B, K, L, H]: B users, K kv heads of the chip, L tokens."""

    k_BKLH: Tensor
    v_BKLH: Tensor


@dataclass(slots=True)
class KvCache:
    """The cache of all layers, and how many positions of each user are filled so far."""

    layers: tuple[LayerCache, ...]
    lengths: list[int] = field(default_factory=list)

    @property
    def num_users(self) -> int:
        """How many sequences it holds."""
        return len(self.lengths)

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
        return KvCache(layers, [0] * shape_BKLH[0])
