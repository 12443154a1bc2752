"""A tensor on a chip: what it is (TensorSpec) and, outside plan mode, its numbers (storage)."""

import math
from enum import Enum
from functools import cache
from typing import Any, final

import numpy as np
import numpy.typing as npt

from .dtype import DType
from .errors import DTypeError, InvalidArgument, UseAfterFree
from .formats.codec import decode as decode
from .formats.codec import encode as encode
from .formats.tile import num_tiles, tile_bytes
from .memory.banks import Allocation
from .memory.config import MemoryConfig, MemoryLayout
from .memory.footprint import Pages, check_shard, matrix

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Shape = tuple[int, ...]

TILE = 32  # rows and columns of a tile


class Layout(Enum):
    """How elements lie in memory: in tiles of 32x32, or row after row."""

    TILE = "tile"
    ROW_MAJOR = "row_major"


@final
class TensorSpec:
    """Shape, number format, layout and memory of a tensor; made by `tensor_spec`.

    Equal specs are one object, so a spec is compared and hashed by identity, which keeps the lookup
    of a planned op cheap.
    """

    __slots__ = (
        "dtype",
        "layout",
        "memory",
        "nbytes",
        "num_tiles",
        "padded_bytes",
        "shape",
        "size",
        "storage_shape",
    )

    def __init__(self, shape: Shape, dtype: DType, layout: Layout, memory: MemoryConfig) -> None:
        self.shape, self.dtype, self.layout, self.memory = shape, dtype, layout, memory
        self.size = math.prod(shape)
        self.storage_shape = dtype.storage_shape(shape)
        self.nbytes = dtype.num_bytes(shape)
        self.num_tiles = num_tiles(shape)
        tiled = layout is Layout.TILE
        self.padded_bytes = self.num_tiles * tile_bytes(dtype) if tiled else self.nbytes

    def memory_for(self, shape: Shape) -> MemoryConfig:
        """Where a result of another shape lies beside this: shards become interleaved."""
        return self.memory if shape == self.shape else self.memory.interleaved()

    def pages(self) -> Pages:
        """How the tensor is cut in pages: tiles, or rows (of width and block shards, parts)."""
        if self.layout is Layout.TILE:
            rows, columns = matrix(self.shape, TILE)
            return Pages(rows // TILE, columns // TILE, TILE, TILE, tile_bytes(self.dtype))
        rows, width = matrix(self.shape, 1)
        element_bytes = self.nbytes // self.size if self.size else 0
        shard, columns = self.memory.shard, 1
        if shard is not None and self.memory.layout is not MemoryLayout.HEIGHT_SHARDED:
            columns, width = -(-width // shard.shape[1]), shard.shape[1]
        if not self.size:
            rows = columns = 0
        return Pages(rows, columns, 1, width, width * element_bytes)

    def __reduce__(self) -> tuple[Any, ...]:
        return tensor_spec, (self.shape, self.dtype, self.layout, self.memory)

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def tensor_spec(
    shape: Shape,
    dtype: DType,
    layout: Layout | None = None,
    memory: MemoryConfig = MemoryConfig.DRAM,
) -> TensorSpec:
    """The one spec of these fields; layout None: tiles for floats, row-major for integers.

    Raises:
        InvalidArgument: a dim is negative, or a block float is to lie row after row.
        ShapeError: the shards of `memory` do not hold such a tensor; names the nearest that do.
    """
    if layout is None:
        layout = Layout.TILE if dtype.is_float else Layout.ROW_MAJOR
    return _spec(tuple(shape), dtype, layout, memory)


@cache
def _spec(shape: Shape, dtype: DType, layout: Layout, memory: MemoryConfig) -> TensorSpec:
    if any(dim < 0 for dim in shape):
        raise InvalidArgument(f"shape (={shape}) must have no negative dim")
    if dtype.block and layout is not Layout.TILE:
        raise InvalidArgument(f"{dtype} lies in tiles only (layout (={layout.value}) must be tile)")
    spec = TensorSpec(shape, dtype, layout, memory)
    check_shard(memory, spec.pages(), repr(spec))
    return spec


@final
class Tensor:
    """An array on a chip.

    `storage` is C-contiguous, of shape `spec.storage_shape` and type `dtype.numpy`; None in plan
    mode. The memory it takes is freed when the last tensor that holds `allocation` dies. A tensor
    that is pickled or copied to another process leaves its allocation behind.
    """

    __slots__ = ("__weakref__", "allocation", "spec", "storage")

    def __init__(
        self, spec: TensorSpec, storage: Array | None, allocation: Allocation | None
    ) -> None:
        self.spec, self.storage, self.allocation = spec, storage, allocation

    @property
    def shape(self) -> Shape:
        """The logical shape, without padding."""
        return self.spec.shape

    @property
    def dtype(self) -> DType:
        """The number format."""
        return self.spec.dtype

    @property
    def layout(self) -> Layout:
        """Tiles or rows."""
        return self.spec.layout

    @property
    def memory(self) -> MemoryConfig:
        """Where it lies: DRAM or L1, interleaved or in shards."""
        return self.spec.memory

    @property
    def nbytes(self) -> int:
        """Bytes without padding to tiles (block floats: with their last block)."""
        return self.spec.nbytes

    @property
    def padded_bytes(self) -> int:
        """Bytes with the last two dims padded to whole tiles."""
        return self.spec.padded_bytes

    def to_numpy(self) -> Array:
        """A copy of the values: float32 for all float formats, else the integers.

        Raises:
            InvalidArgument: the tensor is a plan's and has no values.
            UseAfterFree: it was freed.
        """
        if self.allocation is not None and self.allocation.is_freed:
            raise UseAfterFree(None, "to_numpy", self.named())
        if self.storage is None:
            raise InvalidArgument(f"{self!r} has no values: it was made in plan mode")
        return decode(self.storage, self.spec.dtype, self.spec.shape)

    def to_float32(self) -> Floats:
        """A copy of the values of a float tensor as float32.

        Raises:
            DTypeError: the tensor holds integers.
        """
        if not self.spec.dtype.is_float:
            raise DTypeError(
                f"to_float32 of {self.spec.dtype} (expected a float tensor; see to_numpy)"
            )
        return self.to_numpy()

    def named(self) -> str:
        """The tensor in an error: its label, format and shape."""
        return f"{self.allocation.what!r} {self.spec!r}" if self.allocation else repr(self.spec)

    def __reduce__(self) -> tuple[Any, ...]:
        return Tensor, (self.spec, self.storage, None)

    def __repr__(self) -> str:
        plan = ", plan" if self.storage is None else ""
        return f"Tensor({self.spec!r}, {self.spec.layout.value}{plan})"
