import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import InvalidArgument, ShapeError
from meshtwin.chip.tensor import Layout


def test_tiles_take_room_for_whole_tiles_and_rows_do_not() -> None:
    chip = Chip.open("p150")
    rows = chip.tensor(np.ones((3, 33)), "bf16", Layout.ROW_MAJOR)
    tiles = chip.to_layout(rows, Layout.TILE)
    assert (rows.padded_bytes, tiles.padded_bytes) == (3 * 33 * 2, 2 * 32 * 32 * 2)
    assert chip.to_layout(tiles, Layout.TILE) is tiles
    assert [record.name for record in chip.recorder.records()] == ["to_layout"]


def test_what_is_in_the_layout_already_is_refused_as_are_parts_of_tiles() -> None:
    chip = Chip.open("p150")
    tiles = chip.tensor(np.zeros((32, 64)))
    rows = chip.tensor(np.zeros((2, 31, 64)), layout=Layout.ROW_MAJOR)
    with pytest.raises(InvalidArgument, match=r"tilize: x is in tiles already"):
        chip.tilize(tiles)
    with pytest.raises(InvalidArgument, match=r"untilize: x is row-major already"):
        chip.untilize(rows)
    with pytest.raises(ShapeError, match=r"x \(2, 31, 64\) as .* \(expected \(2, 32, 64\)"):
        chip.tilize(rows)
    with pytest.raises(ShapeError, match=r"as tiles of \(2, 64, 64\) \(expected \(2, 32, 64\)"):
        chip.tilize_with_val_padding(rows, (2, 64, 64))
    with pytest.raises(InvalidArgument, match=r"pad_value \(=nan\)"):
        chip.tilize_with_val_padding(rows, (2, 32, 64), np.nan)
