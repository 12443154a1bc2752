"""What a caller asks for: in which memory a tensor lies, and how it is spread over the banks.

The names and meanings are those of ttnn (MemoryConfig, TensorMemoryLayout, ShardSpec, BufferType).
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, NamedTuple, final

from ..errors import InvalidArgument

Core = tuple[int, int]
"""(column, row) of a worker core; a DRAM bank b is (b, 0)."""


class Buffer(Enum):
    """A kind of memory: the chip's DRAM, or the L1 of its worker cores."""

    DRAM = "DRAM"
    L1 = "L1"


class MemoryLayout(Enum):
    """How pages are spread: round the banks in turn, or in shards of rows, columns or blocks."""

    INTERLEAVED = "interleaved"
    HEIGHT_SHARDED = "height_sharded"
    WIDTH_SHARDED = "width_sharded"
    BLOCK_SHARDED = "block_sharded"


class Orientation(Enum):
    """In which order shards go to the cores of a grid: row after row, or column after column."""

    ROW_MAJOR = "row_major"
    COL_MAJOR = "col_major"


class CoreRange(NamedTuple):
    """A rectangle of cores, both corners included."""

    start: Core
    end: Core

    @property
    def columns(self) -> int:
        """Cores in a row."""
        return self.end[0] - self.start[0] + 1

    @property
    def rows(self) -> int:
        """Cores in a column."""
        return self.end[1] - self.start[1] + 1


def core_grid(columns: int, rows: int = 1, start: Core = (0, 0)) -> tuple[CoreRange, ...]:
    """The rectangle of `columns` x `rows` cores from `start`; of DRAM, `columns` banks."""
    if columns < 1 or rows < 1:
        raise InvalidArgument(f"a grid of {columns} x {rows} cores (expected one core or more)")
    x, y = start
    return (CoreRange(start, (x + columns - 1, y + rows - 1)),)


@final
@dataclass(frozen=True, slots=True)
class ShardSpec:
    """Shards of `shape` = (rows, columns) elements, one on each core of `grid`.

    Rows are those of the tensor as a matrix: all dims but the last, multiplied, each matrix padded
    to whole tiles in the tile layout. The last shards may be less than full: they take the room of
    a full one.
    """

    grid: tuple[CoreRange, ...]
    shape: tuple[int, int]
    orientation: Orientation = Orientation.ROW_MAJOR

    def __post_init__(self) -> None:
        if not self.grid or any(part.columns < 1 or part.rows < 1 for part in self.grid):
            raise InvalidArgument(f"shard grid {self.grid} (expected one core or more)")
        if min(self.shape) < 1:
            raise InvalidArgument(f"shard shape {self.shape} (expected one element or more)")
        if len(set(self.cores())) != self.num_cores:
            raise InvalidArgument(f"shard grid {self.grid} has a core twice")

    @property
    def num_cores(self) -> int:
        """Cores of the grid."""
        return sum(part.columns * part.rows for part in self.grid)

    def cores(self) -> tuple[Core, ...]:
        """The cores in the order in which shards go to them."""
        found: list[Core] = []
        for (left, top), (right, bottom) in self.grid:
            columns, rows = range(left, right + 1), range(top, bottom + 1)
            if self.orientation is Orientation.ROW_MAJOR:
                found += [(x, y) for y in rows for x in columns]
            else:
                found += [(x, y) for x in columns for y in rows]
        return tuple(found)


@final
class MemoryConfig:
    """Where a tensor lies: `MemoryConfig.DRAM` and `MemoryConfig.L1` are the interleaved ones.

    Equal configs are one object, so they are compared and hashed by identity.

    Args:
        buffer: DRAM or L1.
        layout: how pages are spread.
        shard: what a shard is and where it goes; None exactly when the layout is interleaved.
    Raises:
        InvalidArgument: layout and shard do not go together, or a block-sharded grid is not one
            rectangle.
    """

    __slots__ = ("buffer", "layout", "shard")

    buffer: Buffer
    layout: MemoryLayout
    shard: ShardSpec | None
    DRAM: ClassVar["MemoryConfig"]
    L1: ClassVar["MemoryConfig"]

    def __new__(
        cls,
        buffer: Buffer = Buffer.DRAM,
        layout: MemoryLayout = MemoryLayout.INTERLEAVED,
        shard: ShardSpec | None = None,
    ) -> "MemoryConfig":
        known = _KNOWN.get((buffer, layout, shard))
        if known is not None:
            return known
        if (shard is None) != (layout is MemoryLayout.INTERLEAVED):
            raise InvalidArgument(
                f"memory layout {layout.value} "
                + ("needs a shard" if shard is None else "takes no shard")
            )
        if shard is not None:
            if layout is MemoryLayout.BLOCK_SHARDED and len(shard.grid) != 1:
                raise InvalidArgument(f"block shards on {shard.grid} (expected one rectangle)")
            if buffer is Buffer.DRAM and any(y for _, y in shard.cores()):
                raise InvalidArgument(f"DRAM shards on {shard.grid} (expected banks (b, 0))")
        self = super().__new__(cls)
        self.buffer, self.layout, self.shard = buffer, layout, shard
        return _KNOWN.setdefault((buffer, layout, shard), self)

    @property
    def is_sharded(self) -> bool:
        """Whether it lies in shards."""
        return self.shard is not None

    def interleaved(self) -> "MemoryConfig":
        """The same memory, interleaved."""
        return MemoryConfig.DRAM if self.buffer is Buffer.DRAM else MemoryConfig.L1

    def __reduce__(self) -> tuple[Any, ...]:
        return MemoryConfig, (self.buffer, self.layout, self.shard)

    def __repr__(self) -> str:
        if self.shard is None:
            return f"MemoryConfig.{self.buffer.value}"
        rows, columns = self.shard.shape
        return (
            f"MemoryConfig({self.buffer.value}, {self.layout.value}, shards of {rows}x{columns} "
            f"on {self.shard.num_cores} {'banks' if self.buffer is Buffer.DRAM else 'cores'})"
        )


_KNOWN: dict[tuple[Buffer, MemoryLayout, ShardSpec | None], MemoryConfig] = {}
MemoryConfig.DRAM = MemoryConfig(Buffer.DRAM)
MemoryConfig.L1 = MemoryConfig(Buffer.L1)
