"""What an op asks of a chip, from shapes alone."""

from dataclasses import dataclass
from typing import Literal

WorkKind = Literal["matmul", "eltwise", "sfpu", "reduce", "move"]
WORK_KINDS: tuple[WorkKind, ...] = ("matmul", "eltwise", "sfpu", "reduce", "move")


@dataclass(frozen=True, slots=True)
class Product:
    """A matrix product in tiles: [m, k] x [k, n], batches laid one under the other in m.

    *_tile_bytes: of one tile of its format. *_dram_bytes: what is read from or written to DRAM; 0
    where the tensor lies in L1.
    """

    m_tiles: int
    k_tiles: int
    n_tiles: int
    in0_tile_bytes: int
    in1_tile_bytes: int
    out_tile_bytes: int
    in0_dram_bytes: int
    in1_dram_bytes: int
    out_dram_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """What an op asks of a chip.

    num_tile_ops: tile operations of this kind: 32x32x32 products (matmul), binary ops on two tiles
        (eltwise), passes of the vector unit over a tile (sfpu), tiles reduced (reduce), tiles moved
        (move).
    num_parallel: independent pieces of work, at most one a core.
    fidelity_phases: passes of the multiplier (matmul): 1 LoFi, 2 HiFi2, 3 HiFi3, 4 HiFi4.
    product: the shape and the places of a matrix product, which decide how it is cut over cores.
    kv_positions: of decode attention: positions that the user furthest on looks back at.
    l1_bytes: of those read and written, the ones that lie in L1.
    again_bytes: read a second time, where they do not lie in L1.
    """

    kind: WorkKind
    flops: int
    bytes_read: int
    bytes_written: int
    num_tile_ops: int
    num_parallel: int
    fidelity_phases: int = 1
    product: Product | None = None
    kv_positions: int = 0
    l1_bytes: int = 0
    again_bytes: int = 0

    @property
    def bytes(self) -> int:
        """Read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def dram_bytes(self) -> int:
        """Read from and written to DRAM."""
        return self.bytes - self.l1_bytes + (0 if self.l1_bytes else self.again_bytes)
