import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import InvalidArgument, ShapeError
from meshtwin.chip.tensor import Layout


def test_what_is_written_more_than_once_costs_the_writing() -> None:
    chip = Chip.open("p150", plan=True)
    x = chip.empty((1, 1, 512, 512))
    chip.repeat(x, (1, 2, 1, 1))
    chip.repeat_interleave(x, 8, 1)
    chip.expand(x, (8, 2, 512, 512))
    written = [record.bytes for record in chip.recorder.records()]
    assert written == [x.padded_bytes * (1 + times) for times in (2, 8, 16)]


def test_a_value_is_rounded_to_the_format_it_pads() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros(1), "bf16")
    assert chip.pad(x, [(0, 1)], 257).to_numpy().tolist() == [0, 256]
    low = chip.pad(x, [(0, 1)], -np.inf).to_numpy()
    assert low[1] == -np.inf


def test_what_cannot_be_repeated_is_refused() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    for times in ((2,), (1, -1)):
        with pytest.raises(ShapeError, match=r"times \(2, 3\) \(expected 2 numbers or more"):
            chip.repeat(x, times)
    with pytest.raises(InvalidArgument, match=r"repeats \(=0\) must be >= 1"):
        chip.repeat_interleave(x, 0)
    for shape in ((2, 6), (3,), (-1, 2, 3), (-2, 3)):
        with pytest.raises(ShapeError, match="where a dim of 1 may grow"):
            chip.expand(x, shape)


def test_what_cannot_be_padded_is_refused() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((2, 3)))
    with pytest.raises(InvalidArgument, match="before elements of tiles"):
        chip.pad(x, [(1, 0), (0, 0)])
    assert chip.pad(chip.to_layout(x, Layout.ROW_MAJOR), [(1, 0)]).shape == (2, 4)
    with pytest.raises(ShapeError, match=r"padding .* of \(2, 3\) \(expected 2 pairs or fewer"):
        chip.pad(x, [(0, 1)] * 3)
    with pytest.raises(ShapeError, match="numbers >= 0"):
        chip.pad(x, [(0, -1)])
    whole = chip.tensor(np.zeros(2, int))
    for value in (0.5, 2**31, np.inf):
        with pytest.raises(InvalidArgument, match="must be a whole number within"):
            chip.pad(whole, [(0, 1)], value)
