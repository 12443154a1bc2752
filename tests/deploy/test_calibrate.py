"""`meshtwin calibrate collectives` as a user calls it."""

import json

import pytest

from meshtwin.deploy.cli import main


def test_the_table_has_a_line_for_each_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "collectives"]) == 0
    out = capsys.readouterr().out
    assert "blackhole reduce_scatter 8 ring" in out
    assert "wormhole_b0 all_gather 2 line" in out


def test_json_has_every_row_with_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "collectives", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["all"]["rows"] == len(report["rows"]) == 180
    for row in report["rows"]:
        assert row["error"] == pytest.approx(row["simulated_us"] / row["measured_us"] - 1, abs=2e-3)


def test_what_to_calibrate_must_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", "weather"])
    assert "collectives" in capsys.readouterr().err
