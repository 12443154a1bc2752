"""The model against silicon: every kind of measured row is met as well as docs/noc.md says."""

import re
from pathlib import Path

import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.noc.costs import load_noc_costs
from meshtwin.chip.noc.measured import SETUPS, Residual, measured_rows, predict, residuals

DOCS = Path(__file__).resolve().parents[3] / "docs" / "noc.md"

Found = dict[tuple[str, str], Residual]


@pytest.fixture(scope="module")
def found() -> Found:
    return {(r.arch, r.group): r for r in residuals()}


def test_single_transfers_are_met_within_five_percent_on_average(found: Found) -> None:
    single = [r for r in found.values() if r.group.endswith((", one", ", many"))]
    assert len(single) == 18
    blackhole = [r for r in single if r.arch == "blackhole"]
    assert all(r.mean < 0.05 for r in blackhole)
    assert all(max(-r.least, r.most) < 0.17 for r in blackhole)
    assert all(r.mean < 0.08 for r in single)


def test_reads_by_placement_are_met() -> None:
    rows = [row for row in measured_rows() if row.unit == "GB/s" and row.num_bytes == 16384]
    ratio = {(row.what, row.transactions): predict(row) / row.value for row in rows}
    assert ratio["adjacent readers", 64] == pytest.approx(1, abs=0.02)  # 500 GB/s
    assert ratio["arbitrary readers", 64] == pytest.approx(1, abs=0.02)  # 344 GB/s
    assert ratio["arbitrary readers", 1] == pytest.approx(1, abs=0.06)  # 186 GB/s: one at a time


def test_noc1_is_worse_than_noc0_for_reads_of_all_workers_as_measured() -> None:
    rows = [row for row in measured_rows() if row.what.startswith("all from")]
    for row, other in zip(rows[:4], rows[4:], strict=True):
        assert (row.noc, other.noc, row.what) == (0, 1, other.what)
        assert predict(other) / predict(row) == pytest.approx(other.value / row.value, rel=0.08)


def test_many_flows_that_cross_are_promised_more_than_they_get(found: Found) -> None:
    crowds = [found["blackhole", name] for name in ("row to row", "square to square")]
    assert all(r.most < -0.2 for r in crowds)


def test_the_document_has_these_very_figures(found: Found) -> None:
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    for r in found.values():
        errors = f"{r.mean:.1%} | {r.least:+.1%} | {r.most:+.1%}"
        assert f"| {r.arch} | {r.group} | {r.num_rows} | {errors} |" in lines


def test_the_python_of_the_document_runs() -> None:
    codes = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(codes) == 2
    for code in codes:
        names: dict[str, object] = {}
        exec(compile(code, str(DOCS), "exec"), names)


def test_every_row_says_where_it_is_from() -> None:
    rows = measured_rows()
    assert len(rows) > 600
    assert all(len(row.source) > 20 and row.value > 0 and row.num_bytes > 0 for row in rows)
    assert {row.what for row in rows} == {"read", "write", "multicast", *SETUPS}


def test_an_unknown_architecture_has_no_constants() -> None:
    assert load_noc_costs("blackhole").constants["hop_clocks"].kind == "documented"
    with pytest.raises(InvalidArgument, match="Known: blackhole, wormhole_b0"):
        load_noc_costs("grayskull")
