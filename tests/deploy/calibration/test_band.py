"""Bands: from residuals of rows not fitted, wider outside of what the rows cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument
from meshtwin.deploy.calibration.band import band, covered
from meshtwin.deploy.calibration.case import residuals
from meshtwin.deploy.calibration.family import FAMILIES

DECODE = {"chips": 1.0, "batch": 1.0, "positions": 200.0, "weight_bytes": 7e9}


def test_inside_of_what_was_calibrated_a_band_has_no_notes() -> None:
    found = band("decode", "tt_transformers", "blackhole", DECODE)
    assert found.notes == ()
    assert 0.7 < found.low < 1 < found.high < 1.4


@given(
    st.sampled_from(("chips", "batch", "positions", "weight_bytes")),
    st.floats(1, 1e12),
    st.floats(1, 1e3),
    st.sampled_from(("tt_transformers", "tuned", "ttnn")),
    st.sampled_from(("blackhole", "wormhole_b0", "quasar")),
)
def test_a_band_widens_with_the_distance_and_says_so(
    name: str, value: float, factor: float, stack: str, arch: str
) -> None:
    inside = band("decode", "tt_transformers", "blackhole", DECODE)
    least, most = 1.0, 2111.0
    near = band("decode", stack, arch, {name: most * factor if name != "weight_bytes" else value})
    assert 0 < near.low < 1 < near.high
    for start in (value, 1 / value):
        here = band("decode", stack, arch, {name: max(start, least)})
        beyond = band("decode", stack, arch, {name: max(start, least) * factor})
        if start > 1e11:  # above every row
            assert beyond.high >= here.high
            assert beyond.low <= here.low
            assert any(note.startswith(name.removesuffix("_bytes")) for note in beyond.notes)
    if arch == "quasar":
        assert any("quasar" in note for note in near.notes)
        assert near.high > inside.high or stack == "tuned"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_band_of_every_stack_that_was_measured(family: str) -> None:
    for case in FAMILIES[family].cases():
        found = band(family, case.stack, case.spec.arch, case.features)
        assert found.low < 1 < found.high
        assert not found.notes, case.label


def test_most_rows_lie_in_their_band() -> None:
    for family in FAMILIES.values():
        found = residuals(family.cases())
        inside = 0
        for residual in found:
            case = residual.case
            each = band(family.name, case.stack, case.spec.arch, case.features)
            ratio = case.measured_us / residual.predicted_us
            inside += each.low <= ratio <= each.high
        assert inside >= 0.75 * len(found), family.name


def test_a_stack_without_rows_takes_the_widest_and_says_so() -> None:
    found = band("ttft", "ttnn", "blackhole", {})
    assert "no measured ttft of stack ttnn" in found.notes[0]
    for stack in ("tuned", "tt_transformers"):
        other = band("ttft", stack, "blackhole", {})
        assert found.high > other.high
        assert found.low < other.low


def test_a_family_without_rows_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="did you mean 'decode'"):
        band("decod", "tuned", "blackhole", {})


def test_quantiles_are_of_measured_over_predicted() -> None:
    found = residuals(FAMILIES["dram"].cases())
    (stack,) = covered(found)
    ratios = sorted(r.case.measured_us / r.predicted_us for r in found)
    each = covered(found)[stack]
    assert ratios[0] < each.low < 1 < each.high < ratios[-1]
    assert each.rows == len(found)
