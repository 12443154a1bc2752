"""Grids, strong and weak scaling."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.experiments.grid import product, strong, weak
from meshtwin.deploy.experiments.plain import canonical

LISTS = st.lists(st.integers(), min_size=1, max_size=4, unique=True)


@given(st.dictionaries(st.text(min_size=1), LISTS, max_size=4))
def test_a_grid_has_every_combination_once(grid: dict[str, list[int]]) -> None:
    points = product(grid)
    assert len(points) == math.prod(map(len, grid.values()))
    assert len({canonical(point) for point in points}) == len(points)
    assert all(point[name] in grid[name] for point in points for name in grid)


def test_the_last_name_changes_the_quickest() -> None:
    points = product({"a": [1, 2], "b": "xy"})
    assert [(p["a"], p["b"]) for p in points] == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


def test_strong_scaling_keeps_the_users_and_weak_scaling_those_of_a_chip() -> None:
    assert strong({"batch": [32]}, [1, 4]) == [
        {"batch": 32, "tp": 1, "dp": 1},
        {"batch": 32, "tp": 4, "dp": 1},
    ]
    assert weak({"tp": [2]}, [2, 8], [4], by="dp") == [
        {"tp": 2, "batch_per_chip": 4, "dp": 1},
        {"tp": 2, "batch_per_chip": 4, "dp": 4},
    ]


def test_what_grows_cannot_be_in_the_grid() -> None:
    with pytest.raises(ValueError, match="'tp' grows with the chips"):
        strong({"tp": [1]}, [1])
    with pytest.raises(ValueError, match="'batch' grows with the chips"):
        weak({"batch": [1]}, [1], [1])
    with pytest.raises(ValueError, match="6 chips are no multiple of tp = 4"):
        strong({"tp": [4]}, [6], by="dp")
