"""docs/accuracy.md shows what the command prints."""

import re
from pathlib import Path

import pytest

from meshtwin.deploy.calibration.family import FAMILIES
from meshtwin.deploy.cli import main

PAGE = Path(__file__).parents[3] / "docs" / "accuracy.md"


def test_the_table_of_residuals_is_that_of_the_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"```\n\$ meshtwin calibrate\n(.*?)```", text, re.DOTALL)
    assert main(["calibrate"]) == 0
    assert capsys.readouterr().out == shown


def test_the_numbers_of_fitted_constants_are_those_of_the_fit() -> None:
    rows = re.findall(r"(?m)^\| (\S+) \|.*\| (\d+)[^|]*\|$", PAGE.read_text(encoding="utf-8"))
    said = {name: int(number) for name, number in rows}
    for name in ("dram", "small-ops", "decode", "ttft"):
        assert said[name] == len(FAMILIES[name].free)
    assert 2 * said["matmul"] == len(FAMILIES["matmul"].free)
