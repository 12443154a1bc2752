"""Tiles, faces and their bytes: how a tensor lies in a chip's memory, exact to the byte.

A tile of 32x32 is four faces of 16x16, in the order (0,0), (0,1), (1,0), (1,1), each row after row.
Smaller tiles have one row or column of faces, or faces of fewer rows. A transposed tile holds the
transposed matrix. A block float's tile is the exponents of its face rows (padded to 16 bytes), then
their magnitudes; a face row is a block.

Source: tt-metal, tile.cpp and blockfloat_common.cpp; checked against ttnn 0.81.1.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..dtype import BLOCK, DType
from ..errors import InvalidArgument
from .codec import decode, encode
from .rounding import Rounding

Array = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Shape = tuple[int, ...]

SHAPES = ((32, 32), (16, 32), (32, 16), (16, 16), (8, 32), (4, 32), (2, 32), (1, 32))
FACE = 16  # columns of a face, and the most rows
ALIGNMENT = 16  # of a tile's magnitudes in L1


@dataclass(frozen=True, slots=True)
class Tile:
    """The shape of a tile, and whether it holds the transposed matrix.

    Raises:
        InvalidArgument: the chip has no tiles of that shape.
    """

    rows: int = 32
    columns: int = 32
    transposed: bool = False

    def __post_init__(self) -> None:
        if (self.rows, self.columns) not in SHAPES:
            legal = ", ".join(f"{rows}x{columns}" for rows, columns in SHAPES)
            raise InvalidArgument(f"a tile of {self.rows}x{self.columns}: legal are {legal}")

    @property
    def size(self) -> int:
        """Elements of a tile."""
        return self.rows * self.columns


WHOLE = Tile()


def tile_bytes(dtype: DType, tile: Tile = WHOLE) -> int:
    """Bytes of a tile."""
    if dtype.block is None:
        return tile.size * dtype.itemsize
    blocks = tile.size // BLOCK
    return -(-blocks // ALIGNMENT) * ALIGNMENT + blocks * dtype.block.mantissa_bytes


def num_tiles(shape: Shape, tile: Tile = WHOLE) -> int:
    """Tiles of a tensor of that shape, its last two dims padded to whole ones."""
    rows, columns = (1, 1, *shape)[-2:]
    return math.prod(shape[:-2]) * -(-rows // tile.rows) * -(-columns // tile.columns)


def tilize(array: Array, tile: Tile = WHOLE, pad: Any = 0) -> Array:
    """The elements in the order of memory, [tiles, elements of a tile].

    The last two dims are padded with `pad` to whole tiles; a vector is one row.
    """
    rows, columns = (1, 1, *array.shape)[-2:]
    tall, wide = -(-rows // tile.rows), -(-columns // tile.columns)
    count = math.prod(array.shape[:-2])
    padded = np.full((count, tall * tile.rows, wide * tile.columns), pad, array.dtype)
    padded[:, :rows, :columns] = array.reshape(count, rows, columns)
    tiles = padded.reshape(count, tall, tile.rows, wide, tile.columns).swapaxes(2, 3)
    tiles = tiles.reshape(count * tall * wide, tile.size)
    return tiles[:, _order(tile)]


def untilize(tiles: Array, shape: Shape, tile: Tile = WHOLE) -> Array:
    """The tensor of that shape whose tiles these are: the inverse of `tilize`."""
    rows, columns = (1, 1, *shape)[-2:]
    tall, wide = -(-rows // tile.rows), -(-columns // tile.columns)
    count = math.prod(shape[:-2])
    flat = np.empty((count * tall * wide, tile.size), tiles.dtype)
    flat[:, _order(tile)] = tiles.reshape(flat.shape)
    grid = flat.reshape(count, tall, wide, tile.rows, tile.columns).swapaxes(2, 3)
    whole = grid.reshape(count, tall * tile.rows, wide * tile.columns)
    return whole[:, :rows, :columns].reshape(shape)


def pack_tiles(
    values: npt.ArrayLike,
    dtype: DType,
    tile: Tile = WHOLE,
    pad: float = 0,
    rounding: Rounding | str = Rounding.NEAREST_EVEN,
) -> Bytes:
    """The bytes of the tiles of an array, the last two dims padded with a value.

    Raises:
        DTypeError: the values, or `pad`, do not fit the format.
    """
    given = np.asarray(values)
    if not dtype.block:
        filler = encode(np.asarray(pad, np.float32 if dtype.is_float else None), dtype, rounding)
        return tilize(encode(given, dtype, rounding), tile, filler).reshape(-1).view(np.uint8)
    tiles = tilize(encode(given, DType.FLOAT32), tile, pad)
    return _tile_bytes_of(encode(tiles.reshape(-1, BLOCK), dtype, rounding), dtype, tile)


def unpack_tiles(data: Bytes, dtype: DType, shape: Shape, tile: Tile = WHOLE) -> Array:
    """The values of a tensor of that shape from the bytes of its tiles: as `decode` gives them.

    Raises:
        InvalidArgument: another number of bytes.
    """
    _check_length(data, dtype, shape, tile)
    if not dtype.block:
        return decode(untilize(_elements(data, dtype), shape, tile), dtype)
    return untilize(decode(_blocks_of(data, dtype, tile), dtype), shape, tile)


def to_bytes(storage: Array, dtype: DType, shape: Shape, tile: Tile = WHOLE) -> Bytes:
    """The bytes of the tiles of a stored tensor, padded with zeros; no number is rounded.

    Raises:
        InvalidArgument: a block float in transposed tiles, whose blocks would lie along columns.
    """
    if not dtype.block:
        return tilize(storage, tile).reshape(-1).view(np.uint8)
    _check_rows(dtype, tile)
    blocks = dtype.block.blocks(shape[-1] if shape else 1)
    lines = storage.reshape(math.prod(shape[:-1]), blocks * dtype.block.block_bytes)
    mantissas = lines[:, blocks:].reshape(len(lines), blocks, dtype.block.mantissa_bytes)
    whole = np.concatenate((lines[:, :blocks, None], mantissas), axis=2)
    grid = (*shape[:-2], shape[-2] if len(shape) > 1 else 1, blocks)
    return _tile_bytes_of(
        _tilize_blocks(whole.reshape(*grid, dtype.block.block_bytes), tile), dtype, tile
    )


def from_bytes(data: Bytes, dtype: DType, shape: Shape, tile: Tile = WHOLE) -> Array:
    """The storage of a tensor of that shape from the bytes of its tiles: undoes `to_bytes`.

    Raises:
        InvalidArgument: another number of bytes, or a block float in transposed tiles.
    """
    _check_length(data, dtype, shape, tile)
    if not dtype.block:
        return np.ascontiguousarray(untilize(_elements(data, dtype), shape, tile)).reshape(shape)
    _check_rows(dtype, tile)
    size = dtype.block.block_bytes
    blocks = dtype.block.blocks(shape[-1] if shape else 1)
    grid = (*shape[:-2], shape[-2] if len(shape) > 1 else 1, blocks)
    lines = _untilize_blocks(_blocks_of(data, dtype, tile), grid, tile)
    lines = lines.reshape(math.prod(shape[:-1]), blocks, size)
    mantissas = lines[:, :, 1:].reshape(len(lines), blocks * (size - 1))
    joined = np.concatenate((lines[:, :, 0], mantissas), axis=1)
    return joined.reshape(dtype.storage_shape(shape))


@lru_cache
def _order(tile: Tile) -> npt.NDArray[np.intp]:
    """The place in the row-major tile of each element in memory."""
    face_rows = min(tile.rows, FACE)
    places = np.arange(tile.size).reshape(tile.rows, tile.columns)
    if tile.transposed:
        face_rows, places = min(tile.columns, FACE), places.T
    rows, columns = places.shape
    faces = places.reshape(rows // face_rows, face_rows, columns // min(columns, FACE), -1)
    return faces.swapaxes(1, 2).reshape(-1)


def _block_order(tile: Tile) -> npt.NDArray[np.intp]:
    """The same for the blocks of a tile, [rows, columns / 16]."""
    return _order(tile)[::BLOCK] // BLOCK


def _tilize_blocks(blocks: Array, tile: Tile) -> Array:
    """[..., rows, blocks, bytes] to [tiles, blocks of a tile, bytes] in the order of memory."""
    rows, columns, size = blocks.shape[-3:]
    across, count = tile.columns // BLOCK, math.prod(blocks.shape[:-3])
    tall, wide = -(-rows // tile.rows), -(-columns // across)
    padded = np.zeros((count, tall * tile.rows, wide * across, size), np.uint8)
    padded[:, :rows, :columns] = blocks.reshape(count, rows, columns, size)
    tiles = padded.reshape(count, tall, tile.rows, wide, across, size).swapaxes(2, 3)
    return tiles.reshape(count * tall * wide, tile.rows * across, size)[:, _block_order(tile)]


def _untilize_blocks(blocks: Bytes, grid: Shape, tile: Tile) -> Array:
    rows, columns = grid[-2:]
    across, count, size = tile.columns // BLOCK, math.prod(grid[:-2]), blocks.shape[-1]
    tall, wide = -(-rows // tile.rows), -(-columns // across)
    ordered = np.empty((count * tall * wide, tile.rows * across, size), np.uint8)
    ordered[:, _block_order(tile)] = blocks.reshape(ordered.shape)
    cells = ordered.reshape(count, tall, wide, tile.rows, across, size).swapaxes(2, 3)
    whole = cells.reshape(count, tall * tile.rows, wide * across, size)
    return whole[:, :rows, :columns]


def _tile_bytes_of(blocks: Bytes, dtype: DType, tile: Tile) -> Bytes:
    """Blocks in the order of memory (exponent, then magnitudes each) as the bytes of tiles."""
    assert dtype.block is not None
    per_tile, size = tile.size // BLOCK, dtype.block.block_bytes
    lines = blocks.reshape(blocks.size // (per_tile * size), per_tile, size)
    out = np.zeros((len(lines), tile_bytes(dtype, tile)), np.uint8)
    out[:, :per_tile] = lines[:, :, 0]
    magnitudes = per_tile * (size - 1)
    out[:, out.shape[1] - magnitudes :] = lines[:, :, 1:].reshape(len(lines), magnitudes)
    return out.reshape(-1)


def _blocks_of(data: Bytes, dtype: DType, tile: Tile) -> Bytes:
    """The blocks of the bytes of tiles: the inverse of `_tile_bytes_of`."""
    assert dtype.block is not None
    per_tile, size = tile.size // BLOCK, dtype.block.mantissa_bytes
    count = data.size // tile_bytes(dtype, tile)
    tiles = data.reshape(count, tile_bytes(dtype, tile))
    magnitudes = tiles[:, tiles.shape[1] - per_tile * size :].reshape(count, per_tile, size)
    blocks = np.concatenate((tiles[:, :per_tile, None], magnitudes), axis=2)
    return blocks.reshape(count * per_tile, 1 + size)


def _elements(data: Bytes, dtype: DType) -> Array:
    return np.ascontiguousarray(data).view(dtype.numpy)


def _check_length(data: Bytes, dtype: DType, shape: Shape, tile: Tile) -> None:
    wanted = num_tiles(shape, tile) * tile_bytes(dtype, tile)
    if data.size != wanted:
        raise InvalidArgument(
            f"{data.size} bytes for {dtype}{list(shape)} (expected {wanted}: "
            f"{num_tiles(shape, tile)} tiles of {tile_bytes(dtype, tile)})"
        )


def _check_rows(dtype: DType, tile: Tile) -> None:
    if tile.transposed:
        raise InvalidArgument(
            f"{dtype} in transposed tiles has blocks along columns: use pack_tiles, unpack_tiles"
        )
