"""Finding a chip's part in the whole by its contents, and the chip whose part is wrong."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.mesh.coverage import Holding, fault
from meshtwin.mesh.parts import identity, match, ranges, split_dim, take

WHOLE = np.random.default_rng(1).standard_normal((64, 48), dtype=np.float32)


@given(
    rows=st.lists(st.integers(0, 63), min_size=1, max_size=64),
    dtype=st.sampled_from([DType.FLOAT32, DType.BFLOAT16]),
    width=st.sampled_from([6, 48]),
)
def test_rows_are_found_in_any_order_and_format(rows: list[int], dtype: DType, width: int) -> None:
    whole = WHOLE[:, :width]
    matched = match(decode(encode(whole[rows], dtype), dtype), whole)
    assert matched.nearest.tolist() == rows
    assert matched.found.all() and not matched.foreign
    np.testing.assert_array_equal(take(whole, 0, matched), whole[rows])


def test_padding_is_found_nowhere_and_expected_to_be_zero() -> None:
    part = np.concatenate([WHOLE[5:8], np.zeros((2, 48), np.float32)])
    matched = match(part, WHOLE)
    assert (matched.holds, matched.foreign, matched.blank.tolist()) == (
        "5..7",
        0,
        [False] * 3 + [True] * 2,
    )
    np.testing.assert_array_equal(take(WHOLE, 0, matched), part)


def test_rows_of_another_matrix_are_foreign() -> None:
    other = np.random.default_rng(2).standard_normal((7, 48), dtype=np.float32)
    assert match(np.concatenate([WHOLE[:3], other]), WHOLE).foreign == 7


def test_of_rows_that_are_alike_the_one_in_a_row_with_the_others_is_taken() -> None:
    whole = WHOLE.copy()
    whole[3] = whole[40]
    assert match(whole[36:44], whole).nearest.tolist() == list(range(36, 44))
    assert match(whole[:8], whole).nearest.tolist() == list(range(8))


def test_ranges_in_words() -> None:
    assert ranges(np.array([7, 1, 2, 3, 2])) == "1..3, 7"
    assert ranges(np.array([], np.int64)) == "nothing"
    assert identity(4).holds == "0..3"


def test_the_dim_that_is_cut() -> None:
    assert split_dim((4, 2), (4, 8)) == 1
    assert split_dim((4, 8), (4, 8)) is None
    assert split_dim((2, 2), (4, 8)) is None
    assert split_dim((2,), (4, 8)) is None


def held_by(*parts: np.ndarray) -> list[Holding]:
    return [Holding.of(9, 0, 0, match(part, WHOLE), len(WHOLE)) for part in parts]


def quarter(index: int) -> np.ndarray:
    return WHOLE[16 * index : 16 * index + 16]


def test_parts_that_make_the_whole_are_right_also_when_chips_share_some() -> None:
    assert fault(held_by(*map(quarter, range(4))), WHOLE) is None
    assert fault(held_by(*map(quarter, [0, 0, 1, 1, 2, 2, 3, 3])), WHOLE) is None


@given(chip=st.integers(0, 3), other=st.integers(0, 3))
def test_the_chip_with_another_chips_part_is_named(chip: int, other: int) -> None:
    parts = list(range(4))
    parts[chip] = other
    found = fault(held_by(*map(quarter, parts)), WHOLE)
    if chip == other:
        assert found is None
    else:
        assert found is not None and found[0] == chip
        assert f"rows {16 * chip}..{16 * chip + 15} of the reference's weight" in found[1]
        assert f"holds {16 * other}..{16 * other + 15}" in found[1]


@given(chip=st.integers(0, 3))
def test_the_chip_whose_part_was_never_loaded_is_named(chip: int) -> None:
    parts = [quarter(index) for index in range(4)]
    parts[chip] = np.zeros_like(parts[chip])
    found = fault(held_by(*parts), WHOLE)
    assert found is not None and found[0] == chip and "holds nothing" in found[1]


def test_rows_that_are_zero_or_like_others_need_not_be_held() -> None:
    whole = WHOLE.copy()
    whole[60:] = 0
    whole[10] = whole[30]
    holdings = [Holding.of(0, 0, 0, match(whole[rows], whole), 64) for rows in (
        [*range(10), *range(11, 32)], range(32, 60)
    )]  # fmt: skip
    assert fault(holdings, whole) is None
