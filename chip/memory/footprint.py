"""What a tensor takes of every bank, and where each of its pages lies.

A tensor is a matrix of physical rows and columns (see `ShardSpec`), cut in pages: a tile is a page
in the tile layout, a row in the row-major one (of width and block shards: the part of a row that is
in a shard). Every page is padded to the memory's page alignment.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, final

from ..errors import InvalidArgument, ShapeError
from .banks import BankedMemory
from .config import Buffer, MemoryConfig, MemoryLayout, Orientation


@final
@dataclass(frozen=True, slots=True)
class Pages:
    """The pages of a tensor: `rows` x `columns` of them, each `height` x `width` elements."""

    rows: int
    columns: int
    height: int
    width: int
    nbytes: int  # of one page, without padding to an alignment

    @property
    def count(self) -> int:
        """How many there are."""
        return self.rows * self.columns


class Place(NamedTuple):
    """Where a page lies: its bank (DRAM) or core number (L1, row-major), and the offset in it.

    The offset counts from the address of the buffer.
    """

    bank: int
    offset: int


@final
@dataclass(frozen=True, slots=True)
class Footprint:
    """What a tensor takes of a memory, and where its pages go.

    `shard_pages` is (rows, columns) of a full shard in pages, None when interleaved; `banks` the
    bank numbers in the order in which pages, or shards, go round them.
    """

    pages: Pages
    page_bytes: int  # padded to the alignment
    bank_bytes: int  # taken of every bank
    banks: tuple[int, ...]
    shard_pages: tuple[int, int] | None = None

    def place(self, page: int) -> Place:
        """Where page `page` lies; pages are counted row after row.

        Raises:
            InvalidArgument: there is no such page.
        """
        if not 0 <= page < self.pages.count:
            raise InvalidArgument(f"page {page} (expected 0 .. {self.pages.count - 1})")
        if self.shard_pages is None:
            turn, which = divmod(page, len(self.banks))
            return Place(self.banks[which], turn * self.page_bytes)
        row, column = divmod(page, self.pages.columns)
        rows, columns = self.shard_pages
        shard = row // rows * -(-self.pages.columns // columns) + column // columns
        inside = row % rows * columns + column % columns
        return Place(self.banks[shard], inside * self.page_bytes)

    def places(self) -> Iterator[Place]:
        """Where every page lies, page by page."""
        return map(self.place, range(self.pages.count))

    @property
    def padding_bytes(self) -> int:
        """Bytes of the used banks that hold no element's page: padding, and shards not full."""
        return self.bank_bytes * len(self.banks) - self.pages.count * self.pages.nbytes


def footprint(pages: Pages, config: MemoryConfig, memory: BankedMemory) -> Footprint:
    """What a tensor of these pages takes of a chip's memory.

    Raises:
        InvalidArgument: a shard lies on a core or bank that the chip does not have.
    """
    page_bytes = _round_up(pages.nbytes, memory.page_alignment)
    if config.shard is None:
        turns = -(-pages.count // memory.num_banks)
        taken = _round_up(turns * page_bytes, memory.alignment)
        return Footprint(pages, page_bytes, taken, tuple(range(memory.num_banks)))
    rows, columns = (
        max(1, size // page)
        for size, page in zip(config.shard.shape, (pages.height, pages.width), strict=True)
    )
    taken = _round_up(rows * columns * page_bytes, memory.alignment) if pages.count else 0
    width, height = memory.grid
    for x, y in config.shard.cores():
        if not (0 <= x < width and 0 <= y < height):
            what = f"bank {x}" if config.buffer is Buffer.DRAM else f"core {(x, y)}"
            raise InvalidArgument(
                f"{config!r}: {what} is not there (expected within {width} x {height})"
            )
    banks = tuple(y * width + x for x, y in config.shard.cores())
    return Footprint(pages, page_bytes, taken, banks, (rows, columns))


def check_shard(config: MemoryConfig, pages: Pages, tensor: str) -> None:
    """Raise ShapeError unless the shards of `config` hold a tensor of these pages.

    The rules are ttnn's: a shard is whole tiles; height shards are as wide as the tensor, width
    shards as high; there are no more shards than cores, and of blocks no more along a side than the
    grid has. The error names the tensor, the dim and the nearest shard that would do.
    """
    shard = config.shard
    if shard is None or not pages.count:
        return
    height, width = pages.rows * pages.height, pages.columns * pages.width
    grid = shard.grid[0]
    down, across = grid.rows, grid.columns
    if shard.orientation is Orientation.COL_MAJOR:
        down, across = across, down
    is_rows = config.layout is MemoryLayout.HEIGHT_SHARDED
    is_columns = config.layout is MemoryLayout.WIDTH_SHARDED
    if is_rows or is_columns:
        down, across = (shard.num_cores, 1) if is_rows else (1, shard.num_cores)
    legal = (
        height if is_columns else _nearest(shard.shape[0], height, down, pages.height),
        width if is_rows else _nearest(shard.shape[1], width, across, pages.width),
    )
    if legal == shard.shape:
        return
    dim = -2 if legal[0] != shard.shape[0] else -1
    size, most = ((height, down), (width, across))[dim + 2]
    raise ShapeError(
        f"{tensor} in {config.layout.value} shards of {shard.shape[0]}x{shard.shape[1]}: dim {dim} "
        f"({size} physical {'rows' if dim == -2 else 'columns'}) over {most} "
        f"{'core' if most == 1 else 'cores'} does not go in shards of {shard.shape[dim + 2]}; the "
        f"nearest that do are {legal[0]}x{legal[1]}"
    )


def _nearest(asked: int, size: int, most: int, unit: int) -> int:
    """The legal length of a shard nearest to the one asked for: whole pages, enough of them."""
    least = _round_up(-(-size // most), unit)
    return max(least, _round_up(asked, unit))


def matrix(shape: tuple[int, ...], tile: int) -> tuple[int, int]:
    """(rows, columns) of a tensor as a matrix; `tile` pads both of each matrix to multiples."""
    padded = (1, 1, *shape)
    rows, columns = _round_up(padded[-2], tile), _round_up(padded[-1], tile)
    return math.prod(padded[:-2]) * rows, columns


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
