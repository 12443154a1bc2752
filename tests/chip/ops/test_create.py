import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.tensor import Layout


def test_what_the_host_makes_takes_no_simulated_time_and_what_the_chip_fills_does() -> None:
    chip = Chip.open("p150")
    x = chip.full((2, 40), 1.5)
    chip.arange(10)
    assert chip.clock.now_ps == 0 and not chip.recorder.records()
    chip.zeros_like(x)
    (record,) = chip.recorder.records()
    assert record.name == "full_like"
    assert record.bytes == x.padded_bytes  # written; x is not read


def test_layouts_are_tiles_for_floats_and_rows_for_integers_unless_told_otherwise() -> None:
    chip = Chip.open("p150")
    assert chip.zeros((2, 3)).layout is Layout.TILE
    assert chip.ones((2, 3), "int32").layout is Layout.ROW_MAJOR
    assert chip.ones((2, 3), "int32", Layout.TILE).layout is Layout.TILE


def test_a_plan_holds_shapes_that_no_host_has_room_for() -> None:
    chip = Chip.open("p150", plan=True)
    assert chip.zeros((1 << 16, 1 << 17)).padded_bytes == 1 << 34


@pytest.mark.parametrize("plan", [False, True])
def test_bad_shapes_numbers_and_steps_are_refused(plan: bool) -> None:
    chip = Chip.open("p150", rank=1, plan=plan)
    with pytest.raises(InvalidArgument, match=r"chip 1, zeros: dim 1 of .* is -3"):
        chip.zeros((2, -3))
    with pytest.raises(InvalidArgument, match=r"full: fill_value \(=1.5\) .*\(nearest: 2\)"):
        chip.full((2,), 1.5, "int32")
    with pytest.raises(InvalidArgument, match=r"arange: step \(=0\) .*\(nearest: 1\)"):
        chip.arange(0, 5, 0)
    with pytest.raises(InvalidArgument, match=r"arange: a number \(=-2\) .*\(nearest: 0\)"):
        chip.arange(-2, 5, 1, "uint32")
    x = chip.tensor(np.array([1], np.uint32))
    with pytest.raises(InvalidArgument, match=r"full_like: fill_value \(=-1\) .*\(nearest: 0\)"):
        chip.full_like(x, -1)
