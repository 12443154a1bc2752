"""Files of results."""

import csv
import json
from pathlib import Path

import pytest

from meshtwin.deploy.experiments.results import write_results
from meshtwin.deploy.experiments.stamp import Stamp, constants

from .lab import SQUARES, rows_of, stamp, sweep_of


def test_the_csv_has_values_results_errors_and_what_they_depend_on(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, SQUARES)
    write_results(tmp_path, sweep, stamp(sweep), rows_of(sweep, tmp_path))
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("n", "scale", "square", "sim_ms", "error", "meshtwin", "code", "constants")
    ]  # fmt: skip
    assert [row["square"] for row in rows] == ["1", "10", "4", "40", "", "", "16", "160"]
    assert rows[4]["error"].startswith("ValueError: three is odd")
    assert rows[0]["constants"] == stamp(sweep).constants


def test_what_the_results_depend_on_is_written_beside_them(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, SQUARES)
    write_results(tmp_path, sweep, stamp(sweep), rows_of(sweep, tmp_path))
    about = json.loads((tmp_path / "about.json").read_text())
    assert (about["points"], about["failed"]) == (8, 2)
    assert about["versions"]["meshtwin"] == stamp(sweep).versions["meshtwin"]
    assert about["constants"] == dict(constants())
    assert about["constants"]["chip/data/costs.toml: any.dispatch_gap_us"] > 0


def test_parquet_has_the_same_columns_and_the_constants_in_its_metadata(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    text = SQUARES + "grid = [{'n': 1}, {'n': 2, 'scale': 0.5}, {'n': [1]}]\n"
    sweep = sweep_of(tmp_path, text)
    write_results(tmp_path, sweep, stamp(sweep), rows_of(sweep, tmp_path))
    table = pq.read_table(tmp_path / "results.parquet")
    assert table.column("square").to_pylist() == [1.0, 2.0, None]
    assert table.column("n").to_pylist() == ["1", "2", "[1]"]  # mixed: texts
    about = json.loads(table.schema.metadata[b"meshtwin"])
    assert about == json.loads((tmp_path / "about.json").read_text())


def test_other_versions_and_other_constants_are_other_points() -> None:
    stamps = [
        Stamp({"code": "1"}, "a"), Stamp({"code": "2"}, "a"), Stamp({"code": "1"}, "b"),
    ]  # fmt: skip
    keys = {one.key({"n": n}) for one in stamps for n in (1, 2)}
    assert len(keys) == 6
    assert stamps[0].key({"a": 1, "b": 2}) == Stamp({"code": "1"}, "a").key({"b": 2, "a": 1})
