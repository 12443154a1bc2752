"""Bands: from residuals of rows not fitted, wider outside of what the rows cover."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.errors import InvalidArgument
from meshtwin.deploy.calibration.band import band, covered
from meshtwin.deploy.calibration.case import residuals
from meshtwin.deploy.calibration.family import FAMILIES

DECODE = {"chips": 1.0, "batch": 1.0, "positions": 200.0, "weight_bytes": 7e9}
MEASURED = [c.features for c in FAMILIES["decode"].cases() if c.stack == "tt_transformers"]
ENDS = {name: (min(f[name] for f in MEASURED), max(f[name] for f in MEASURED)) for name in DECODE}
CHIPS = st.sampled_from((("tt_transformers", "blackhole"), ("tt_transformers", "wormhole_b0")))


def test_inside_of_what_was_calibrated_a_band_has_no_notes() -> None:
    found = band("decode", "tt_transformers", "blackhole", DECODE)
    assert found.notes == ()
    assert 0.7 < found.low < 1 < found.high < 1.4


@given(st.sampled_from(sorted(ENDS)), st.booleans(), st.floats(1.01, 1e3), st.floats(1, 1e3), CHIPS)
def test_a_band_widens_with_the_distance_and_says_so(
    name: str, above: bool, factor: float, more: float, chip: tuple[str, str]
) -> None:
    least, most = ENDS[name]
    value = most * factor if above else least / factor
    farther = value * more if above else value / more
    inside, here, beyond = (
        band("decode", *chip, {**DECODE, **change})
        for change in ({}, {name: value}, {name: farther})
    )
    assert beyond.low <= here.low < inside.low < 1 < inside.high < here.high <= beyond.high
    assert any(
        note.startswith(name.removesuffix("_bytes").replace("_", " ")) for note in here.notes
    )
    assert len(here.notes) == len(inside.notes) + 1


def test_an_architecture_without_rows_widens_a_band() -> None:
    known = band("decode", "tuned", "blackhole", {})
    other = band("decode", "tuned", "wormhole_b0", {})
    assert "no measured decode on wormhole_b0" in other.notes[0]
    assert other.low < known.low < known.high < other.high


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
