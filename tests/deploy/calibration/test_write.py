"""Fitted constants go into the data files, and nothing else changes there."""

import tomllib
from importlib.resources import files

import pytest

from meshtwin.deploy.calibration.place import Place
from meshtwin.deploy.calibration.write import rewritten

TEXT = """\
# a comment
[any.a]
value = 1.5
unit = "us"
kind = "measured"
source = "somebody"

[any.ab]
value = 2
unit = "us"
kind = "inferred"
source = "fitted to rows: with words"
"""


def test_a_value_is_replaced_and_a_fitted_source_stays() -> None:
    assert rewritten(TEXT, Place("", "any", "ab"), 3.25, "x") == TEXT.replace("= 2\n", "= 3.25\n")


def test_a_measured_constant_becomes_a_fitted_one() -> None:
    found = tomllib.loads(rewritten(TEXT, Place("", "any", "a"), 1e-5, "mine.csv"))
    assert found["any"]["a"] == {
        "value": 1e-05, "unit": "us", "kind": "inferred", "source": "fitted to mine.csv",
    }  # fmt: skip
    assert "# a comment" in rewritten(TEXT, Place("", "any", "a"), 1, "mine.csv")


def test_a_constant_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no \[tuned.any.a\]"):
        rewritten(TEXT, Place("tuned", "any", "a"), 1, "x")


@pytest.mark.parametrize(
    "place",
    [
        Place("", "any", "core_bytes_per_clock"),
        Place("", "blackhole", "matmul_start_clocks"),
        Place("tuned", "any", "host_op_us"),
    ],
)
def test_shipped_files_are_written_as_they_are_read(place: Place) -> None:
    text = (files("meshtwin.chip") / "data" / place.file).read_text(encoding="utf-8")
    assert rewritten(text, place, place.shipped.value, "x") == text
