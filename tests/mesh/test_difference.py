"""Two results are equal to the bit, or the place where they differ is named."""

import copy
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.mesh.difference import difference
from meshtwin.mesh.program import MeshChip

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
TREES = st.recursive(
    LEAVES,
    lambda tree: st.lists(tree, max_size=3) | st.dictionaries(st.text(), tree, max_size=3),
    max_leaves=12,
)
Pair = namedtuple("Pair", "left right")


@dataclass
class Point:
    x: float
    y: Any


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


@settings(deadline=None)  # the machine may be busy
@given(TREES)
def test_a_copy_is_no_different(tree: Any) -> None:
    assert difference(tree, copy.deepcopy(tree)) is None


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        (1, 1.0, "is a float, not a int"),
        (0.0, -0.0, "is -0.0, not 0.0"),
        ([1, [2, 3]], [1, [2, 4]], r"\[1\]\[1\] is 4, not 3"),
        ([1], [1, 2], "has 2 items, not 1"),
        ({"a": 1}, {"b": 1}, r"has the keys \['b'\], not \['a'\]"),
        ({"a": (1,)}, {"a": (2,)}, r"\['a'\]\[0\] is 2, not 1"),
        (Pair(1, 2), Pair(1, 3), r"\[1\] is 3, not 2"),
        (Point(1.0, [1]), Point(1.0, [2]), r"\.y\[0\] is 2, not 1"),
        (Plain([1]), Plain([2]), r"\['value'\]\[0\] is 2, not 1"),
        (np.float32(1), np.float32(2), r"element \(\) is .*2"),
        (np.zeros((2, 3)), np.zeros((3, 2)), r"is float64\[3, 2\], not float64\[2, 3\]"),
        (np.array([[0.0, 1.0]]), np.array([[0.0, -1.0]]), r"1 of 2 elements: element \(0, 1\)"),
        (np.array([None, 1]), np.array([None, 2]), r"\[1\] is 2, not 1"),
    ],
)
def test_the_place_of_a_difference_is_named(good: Any, bad: Any, words: str) -> None:
    found = difference(good, bad)
    assert found is not None
    with pytest.raises(ValueError, match=words):
        raise ValueError(found)
    assert difference(good, copy.deepcopy(good)) is None


def test_arrays_are_compared_by_their_bits() -> None:
    assert difference(np.array([np.nan]), np.array([np.nan])) is None
    assert difference(np.array([0.0]), np.array([-0.0])) is not None
    assert difference(np.empty((0, 3)), np.empty((0, 3))) is None


def test_tensors_are_compared_by_their_bits() -> None:
    chip = MeshChip.open("p150", rank=0)
    values = np.ones((2, 2), np.float32)
    other = values.copy()
    other[1, 0] = 7
    one, same, changed = chip.tensor(values), chip.tensor(values), chip.tensor(other)
    assert difference(one, same) is None
    assert "element (1, 0) is " in str(difference([one], [changed]))
    assert "float32[2, 2]" in str(difference(one, chip.tensor(values[:1])))


def test_what_cannot_be_compared_counts_as_equal() -> None:
    assert difference(object(), object()) is None
    assert difference(lambda: 1, lambda: 2) is None
