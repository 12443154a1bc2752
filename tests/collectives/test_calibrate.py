"""The simulator against what was measured, and the search that found its constants."""

from dataclasses import replace

import pytest

from meshtwin.collectives import calibrate
from meshtwin.collectives.calibrate import by_family, fit, residuals, shipped_costs, summarize
from meshtwin.collectives.measured import Family, load_rows, predict_us
from meshtwin.collectives.operation import Operation

FOUND = residuals(shipped_costs())


def test_half_of_the_measured_rows_are_met_within_eight_percent() -> None:
    assert len(FOUND) == 180
    assert summarize("all", FOUND).median <= 0.08


@pytest.mark.parametrize("residual", FOUND, ids=lambda residual: str(residual.row))
def test_no_measured_row_is_off_by_more_than_a_quarter(residual: calibrate.Residual) -> None:
    assert abs(residual.error) <= 0.25


@pytest.mark.parametrize(("family", "found"), by_family(FOUND).items(), ids=str)
def test_no_family_is_biased_by_more_than_a_tenth(
    family: Family, found: list[calibrate.Residual]
) -> None:
    assert abs(summarize(str(family), found).bias) <= 0.1


def test_a_summary_is_of_absolute_errors_and_its_bias_is_signed() -> None:
    row = load_rows()[0]
    us = row.measured_us
    found = [calibrate.Residual(row, us * factor) for factor in (0.5, 1.1, 1.2)]
    summary = summarize("three", found)
    assert summary.median == pytest.approx(0.2)
    assert summary.percentile_90 == pytest.approx(0.5)
    assert summary.bias == pytest.approx(-0.2 / 3)
    assert summary.worst is found[0]


def test_the_constants_in_the_data_file_are_those_that_the_fit_finds() -> None:
    fitted = fit()
    for arch, costs in shipped_costs().items():
        for name in calibrate.START:
            assert getattr(fitted[arch], name).value == getattr(costs, name).value


def test_the_fit_finds_the_constants_that_made_the_rows() -> None:
    rows = [
        row
        for row in load_rows()
        if row.family.arch == "wormhole_b0" and row.family.operation is Operation.ALL_GATHER
    ]
    costs = shipped_costs()
    made = [
        replace(residual.row, measured_us=residual.simulated_us)
        for residual in residuals(costs, rows)
    ]
    found = residuals(fit(made), made)
    assert max(abs(residual.error) for residual in found) < 0.02


def test_a_family_left_out_is_predicted_by_the_others() -> None:
    rows = [row for row in load_rows() if row.family.arch == "wormhole_b0"]
    reduce_scatters = [r for r in rows if r.family.operation is Operation.REDUCE_SCATTER]
    summaries = calibrate.leave_one_out(reduce_scatters)
    assert [summary.num_rows for summary in summaries] == [15, 14, 29]
    inside = summarize("all", residuals(fit(reduce_scatters), reduce_scatters))
    assert summaries[-1].median > inside.median


@pytest.mark.parametrize("arch", calibrate.ARCHS)
@pytest.mark.parametrize(("num_ranks", "topology"), [(4, "ring"), (8, "ring"), (8, "line")])
def test_groups_that_were_not_fitted_have_times_too(
    arch: str, num_ranks: int, topology: str
) -> None:
    row = next(row for row in load_rows() if row.family.arch == arch)
    family = Family(arch, Operation.ALL_REDUCE, num_ranks, topology)
    assert predict_us(replace(row, family=family), shipped_costs()[arch]) > 0


def test_a_group_that_no_box_has_is_refused() -> None:
    row = load_rows()[0]
    family = replace(row.family, num_ranks=64)
    with pytest.raises(ValueError, match="no line of 64"):
        predict_us(replace(row, family=family), shipped_costs()["blackhole"])


def test_software_overheads_are_the_same_cycles_on_both_architectures() -> None:
    blackhole, wormhole = shipped_costs().values()
    for name in calibrate.SHARED:
        assert getattr(blackhole, name).value == getattr(wormhole, name).value
