"""The families of measurements under the shipped constants: what the issue asks of the model."""

import pytest

from meshtwin.deploy.calibration import band, decode, dram, prefill, small_ops, table
from meshtwin.deploy.calibration.case import residuals
from meshtwin.deploy.calibration.family import FAMILIES, Family
from meshtwin.deploy.calibration.summary import Summary
from meshtwin.deploy.errors import BadRow

each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


@each_family
def test_the_shipped_constants_keep_to_the_target(family: Family) -> None:
    summary = Summary.of(family.name, residuals(family.cases()))
    assert summary.median <= family.target
    assert abs(summary.bias) <= family.target / 2


@each_family
def test_groups_left_out_are_predicted_nearly_as_well(family: Family) -> None:
    left_out = band.shipped_summaries()[family.name]
    assert left_out["rows"] == len(family.cases())
    assert left_out["median"] <= 1.25 * family.target


@each_family
def test_every_row_is_predicted_or_left_out_with_a_reason(family: Family) -> None:
    left_out = sum(map(len, family.left_out().values()))
    assert len(family.cases()) + left_out == len(family.lines())
    assert all(len(reason) > 8 for reason in family.left_out())


@each_family
def test_free_constants_are_shipped_within_their_bounds(family: Family) -> None:
    for free in family.free:
        assert free.least <= free.place.shipped.value <= free.most, free.place.table
        assert free.place.shipped.source.startswith("fitted to"), free.place.table


def test_every_row_of_ops_is_of_one_family() -> None:
    assert len(small_ops.lines()) + 8 == len(table.shipped("ops.csv"))
    assert sum(line.file == "ops.csv" for line in dram.lines()) == 8


def test_every_row_of_models_is_of_decode_or_ttft() -> None:
    for line in table.shipped("llm_perf.csv"):
        assert not decode.excluded(line) or not prefill.excluded(line)


@each_family
def test_each_case_has_a_name_of_its_own_or_was_measured_again(family: Family) -> None:
    cases = family.cases()
    assert all(case.measured_us > 0 and case.label and case.group for case in cases)
    assert len({case.label for case in cases}) > 0.6 * len(cases)


def test_throttled_products_are_shown_and_not_fitted() -> None:
    noted = [case for case in FAMILIES["matmul"].cases() if case.note]
    assert len(noted) == 4
    assert all("20480" in case.label for case in noted)


def test_an_op_that_nobody_knows_is_a_bad_row() -> None:
    fields = {"source_path": "x", "arch": "blackhole", "op": "Gather", "time_us": "1"}
    with pytest.raises(BadRow, match=r"op \(='Gather'\) must begin with one of LayerNorm"):
        small_ops.case(table.Line("mine.csv", 4, fields))
