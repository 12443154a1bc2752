"""Bit for bit what ttnn has: every array of formats.npz, by numpy and by every compiled loop."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from meshtwin.chip.dtype import DType
from meshtwin.chip.formats.codec import decode, encode, pack, unpack
from meshtwin.chip.formats.tile import (
    SHAPES,
    Tile,
    from_bytes,
    pack_tiles,
    tilize,
    to_bytes,
    unpack_tiles,
)

from .golden import golden

Array = npt.NDArray[Any]
GOLD = golden()
BLOCKS = [f"bfp{n}{exponent}" for n in (8, 4, 2) for exponent in "ba"]
TILES = "input_f32_bits"
SHAPE = GOLD[TILES].shape

pytestmark = pytest.mark.usefixtures("way")


def dtype_of(name: str) -> DType:
    """The format that the file calls so: bfp8b, bfp4a."""
    return DType.parse(f"{name[:-1]}_{name[-1]}")


def floats(name: str) -> Array:
    return GOLD[name].view(np.float32)


def same(found: Array, wanted: Array) -> None:
    """Not one byte differs."""
    assert found.nbytes == wanted.nbytes
    differ = found.reshape(-1).view(np.uint8) != wanted.reshape(-1).view(np.uint8)
    assert np.count_nonzero(differ) == 0


def test_bfloat16() -> None:
    words = encode(floats(TILES), DType.BFLOAT16)
    same(words, GOLD["bf16_bits"])
    same(words, GOLD["bf16_bits_to_dtype"])


@pytest.mark.parametrize("name", BLOCKS)
def test_block_floats_from_float32(name: str) -> None:
    dtype, packed = dtype_of(name), GOLD[f"{name}_packed"]
    same(pack_tiles(floats(TILES), dtype), packed)
    storage = encode(floats(TILES), dtype)
    same(to_bytes(storage, dtype, SHAPE), packed)
    same(from_bytes(packed.reshape(-1), dtype, SHAPE), storage)


@pytest.mark.parametrize("name", BLOCKS)
def test_block_floats_to_float32(name: str) -> None:
    dtype, packed = dtype_of(name), GOLD[f"{name}_packed"].reshape(-1)
    same(decode(from_bytes(packed, dtype, SHAPE), dtype, SHAPE), GOLD[f"{name}_f32_bits"])
    same(unpack_tiles(packed, dtype, SHAPE), GOLD[f"{name}_f32_bits"])


@pytest.mark.parametrize("name", ["bfp8b", "bfp4b"])
def test_block_floats_from_and_to_bfloat16(name: str) -> None:
    dtype = dtype_of(name)
    storage = pack(GOLD["bf16_bits"], dtype)
    same(to_bytes(storage, dtype, SHAPE), GOLD[f"{name}_packed_from_bf16"])
    of_float32 = encode(floats(TILES), dtype)
    same(unpack(of_float32, dtype, SHAPE), GOLD[f"{name}_to_bf16_bits"])


def test_bfp4_from_bfp8() -> None:
    storage = encode(floats("bfp8b_f32_bits"), DType.BFP4_B)
    same(to_bytes(storage, DType.BFP4_B, SHAPE), GOLD["bfp4b_packed_from_bfp8b"])


def test_a_transposed_tile_has_its_blocks_along_columns() -> None:
    tile, given = Tile(transposed=True), GOLD["coltilize_in"]
    assert given.shape[::-1] == tuple(GOLD["coltilize_shape"])
    same(pack_tiles(given, DType.BFP8_B, tile), GOLD["coltilize_bfp8b_bytes"])
    values = unpack_tiles(GOLD["coltilize_bfp8b_bytes"], DType.BFP8_B, given.shape, tile)
    assert np.abs(values - given).max() <= 2.0**-6 * np.abs(given).max()


@pytest.mark.parametrize(("name", "pad"), [("default", 0.0), ("1p5", 1.5)])
def test_padding(name: str, pad: float) -> None:
    given = GOLD["pad_in"]
    same(pack_tiles(given, DType.BFLOAT16, pad=pad), GOLD[f"pad_bf16_{name}_bytes"])
    same(pack_tiles(given, DType.BFP8_B, pad=pad), GOLD[f"pad_bfp8_{name}_bytes"])
    assert GOLD["pad_padded_shape"].tolist() == [2, 64, 64]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_element_order_and_small_tiles(shape: tuple[int, int]) -> None:
    tile, name = Tile(*shape), f"{shape[0]}x{shape[1]}"
    same(tilize(np.arange(6144, dtype=np.int32).reshape(96, 64), tile), GOLD[f"order_{name}"])
    if shape == (32, 32):
        return
    for bits, dtype in ((8, DType.BFP8_B), (4, DType.BFP4_B)):
        given, wanted = GOLD["tiny_in"], GOLD[f"tiny_bfp{bits}_{name}"]
        same(pack_tiles(given, dtype, tile), wanted)
        storage = encode(given, dtype)
        same(to_bytes(storage, dtype, given.shape, tile), wanted)
        same(from_bytes(wanted, dtype, given.shape, tile), storage)


def test_element_order_of_a_transposed_tile() -> None:
    places = np.arange(6144, dtype=np.int32).reshape(96, 64)
    same(tilize(places, Tile(transposed=True)), GOLD["order_32x32_transposed"])


def test_fp8_e4m3() -> None:
    codes = encode(floats("fp8_in_bits"), DType.FP8_E4M3)
    same(codes, GOLD["fp8_e4m3_codes"])
    same(decode(codes, DType.FP8_E4M3), GOLD["fp8_e4m3_f32_bits"])


@pytest.mark.parametrize("name", ["uint8", "int8", "uint16", "int32", "uint32"])
def test_floats_to_integers(name: str) -> None:
    found = encode(floats("int_in_bits"), DType.parse(name), "truncate")
    same(found, GOLD[f"f32_to_{name}_ctor"])
    same(found, GOLD[f"f32_to_{name}_to_dtype"])
