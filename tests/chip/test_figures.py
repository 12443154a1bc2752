"""Figures of one array beside another, against numpy's own and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.figures import Bound, figures
from meshtwin.chip.tensor import decode, encode

numbers = st.floats(-100, 100, width=32)
vectors = hnp.arrays(np.float32, st.integers(2, 40), elements=numbers)


@given(expected=vectors, seed=st.integers(0, 9))
def test_figures_are_numpys(expected: np.ndarray, seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal(expected.shape).astype(np.float32)
    found = expected + noise
    result = figures(found, expected, DType.FLOAT32)
    error = found.astype(np.float64) - expected
    assert result.max_abs == np.abs(error).max()
    size = math.sqrt(float(np.mean(expected.astype(np.float64) ** 2)))
    rms = math.sqrt(float(np.mean(error**2)))
    assert result.relative_rms == pytest.approx(rms / size if size else math.inf)
    if result.pcc is None:
        assert np.ptp(expected) == 0
    elif np.std(expected.astype(np.float64)) > 1e-3:
        assert result.pcc == pytest.approx(np.corrcoef(found, expected)[0, 1], abs=1e-6)


@given(x=vectors, dtype=st.sampled_from([DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16]))
def test_equal_arrays_differ_in_nothing(x: np.ndarray, dtype: DType) -> None:
    values = decode(encode(x, dtype), dtype)
    result = figures(values, values, dtype)
    assert (result.max_abs, result.max_ulps, result.relative_rms, result.num_different) == (
        0.0, 0, 0.0, 0,
    )  # fmt: skip
    assert result.pcc in (None, 1.0)
    assert result.within(Bound(1.0, 0, 0.0))


def test_an_ulp_is_a_step_of_the_outputs_format() -> None:
    one = np.array([1.0, -1.0], np.float32)
    near = np.array([1.0078125, -1.015625], np.float32)  # one and two steps of bfloat16
    assert figures(near, one, DType.BFLOAT16).max_ulps == 2
    assert figures(near, one, DType.FLOAT32).max_ulps == 2 * 2**16
    assert figures(np.nextafter(one, np.float32(9)), one, DType.FLOAT32).max_ulps == 1
    assert figures(-np.zeros(1, np.float32), np.zeros(1, np.float32), DType.FLOAT32).max_ulps == 0


def test_what_is_expected_is_rounded_to_the_format_before_ulps_are_counted() -> None:
    expected = np.array([1.001, 3.0], np.float32)
    result = figures(np.array([1.0, 3.0], np.float32), expected, DType.BFLOAT16)
    assert (result.max_ulps, result.num_different) == (0, 0)
    assert result.max_abs == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_on_one_side_only_is_as_wrong_as_can_be(odd: float) -> None:
    good, bad = np.ones(4, np.float32), np.array([1, 1, odd, 1], np.float32)
    for found, expected in ((bad, good), (good, bad)):
        result = figures(found, expected, DType.BFLOAT16)
        assert (result.pcc, result.max_abs, result.num_different) == (0.0, math.inf, 1)
        assert not result.within(Bound())
    assert figures(bad, bad, DType.BFLOAT16).within(Bound(1.0, 0, 0.0))


def test_a_factor_is_seen_though_the_correlation_does_not_see_it() -> None:
    x = np.linspace(-1, 1, 64, dtype=np.float32)
    result = figures(x * np.float32(1.5), x, DType.FLOAT32)
    assert result.pcc == pytest.approx(1.0) and result.relative_rms == pytest.approx(0.5)
    assert not result.within(Bound())
    assert result.within(Bound(relative_rms=None))


def test_a_constant_has_no_correlation_and_is_judged_by_its_error() -> None:
    expected = np.full(8, 2.0, np.float32)
    near, far = (
        figures(expected + 0.1, expected, DType.FLOAT32),
        figures(expected * 2, expected, DType.FLOAT32),
    )
    assert near.pcc is None and near.within(Bound())
    assert far.pcc is None and not far.within(Bound(relative_rms=None))


def test_integers_are_judged_by_their_difference_alone() -> None:
    result = figures(np.array([1, 5]), np.array([1, 7]), DType.INT32)
    assert (result.pcc, result.max_abs, result.max_ulps, result.num_different) == (None, 2.0, 2, 1)
    assert result.within(Bound(), is_float=False)
    assert not result.within(Bound(max_ulps=1), is_float=False)


def test_nothing_is_as_good_as_nothing() -> None:
    nothing = np.zeros((0, 3), np.float32)
    assert figures(nothing, nothing, DType.BFLOAT16).within(Bound(1.0, 0, 0.0))


@pytest.mark.parametrize(
    ("pcc", "ulps", "rms"), [(1.5, None, None), (0.9, -1, None), (0.9, None, -0.1), (None,) * 3]
)
def test_a_bound_out_of_its_range_is_refused(
    pcc: float | None, ulps: int | None, rms: float | None
) -> None:
    with pytest.raises(InvalidArgument):
        Bound(pcc, ulps, rms)
