"""Tiles of every shape: elements and bytes go there and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError, InvalidArgument
from meshtwin.chip.formats.codec import decode, encode
from meshtwin.chip.formats.tile import (
    SHAPES,
    Tile,
    from_bytes,
    num_tiles,
    pack_tiles,
    tile_bytes,
    tilize,
    to_bytes,
    unpack_tiles,
    untilize,
)

shapes = st.lists(st.integers(0, 40), max_size=4).map(tuple)
tiles = st.sampled_from(SHAPES).flatmap(lambda s: st.builds(Tile, *map(st.just, s), st.booleans()))


@given(shapes, tiles)
def test_elements_go_into_tiles_and_back(shape: tuple[int, ...], tile: Tile) -> None:
    given_in = np.arange(np.prod(shape, dtype=int), dtype=np.int32).reshape(shape)
    inside = tilize(given_in, tile, -1)
    assert inside.shape == (num_tiles(shape, tile), tile.size)
    assert untilize(inside, shape, tile).tolist() == given_in.tolist()
    assert np.count_nonzero(inside == -1) == inside.size - given_in.size


@settings(max_examples=30)
@given(shapes, tiles, st.sampled_from(DType))
def test_a_stored_tensor_becomes_the_bytes_of_its_tiles_and_comes_back(
    shape: tuple[int, ...], tile: Tile, dtype: DType
) -> None:
    given_in = np.random.default_rng(1).integers(0, 100, shape)
    storage = encode(given_in, dtype)
    packed = pack_tiles(given_in, dtype, tile)
    assert packed.size == num_tiles(shape, tile) * tile_bytes(dtype, tile)
    if dtype.block and tile.transposed:
        with pytest.raises(InvalidArgument, match="blocks along columns"):
            to_bytes(storage, dtype, shape, tile)
        with pytest.raises(InvalidArgument, match="blocks along columns"):
            from_bytes(packed, dtype, shape, tile)
        assert unpack_tiles(packed, dtype, shape, tile).shape == shape
        return
    assert to_bytes(storage, dtype, shape, tile).tobytes() == packed.tobytes()
    assert from_bytes(packed, dtype, shape, tile).tobytes() == storage.tobytes()
    wanted = decode(storage, dtype, shape)
    assert unpack_tiles(packed, dtype, shape, tile).tobytes() == wanted.tobytes()


def test_bytes_of_every_tile_with_room_for_alignment() -> None:
    assert [tile_bytes(DType.BFP8_B, Tile(*shape)) for shape in SHAPES] == [
        1088, 544, 544, 272, 272, 144, 80, 48,
    ]  # fmt: skip
    assert tile_bytes(DType.BFP4_B) == 576
    assert tile_bytes(DType.BFP2_B) == 320
    assert tile_bytes(DType.BFLOAT16, Tile(1, 32)) == 64


def test_what_is_no_tile_and_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"a tile of 32x8: legal are 32x32, 16x32"):
        Tile(32, 8)
    with pytest.raises(InvalidArgument, match=r"7 bytes for bfp8_b\[2, 3\] \(expected 1088: 1"):
        from_bytes(np.zeros(7, np.uint8), DType.BFP8_B, (2, 3))
    with pytest.raises(DTypeError, match="expected integers"):
        pack_tiles(np.ones((2, 3)), DType.INT32)
    padded = pack_tiles(np.ones((2, 3), int), DType.INT32, pad=7)
    assert padded.view(np.int32)[:4].tolist() == [1, 1, 1, 7]
