"""`meshtwin calibrate` as a user calls it."""

import csv
import json
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main

HEAD = "source,product,dtype,fidelity,operands_in,M,K,N,traced_us,mood\n"
ROW = "mine,p150,BF16,HiFi2,DRAM,2560,2816,2816,{us},good\n"


def test_the_table_has_a_line_for_each_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate"]) == 0
    out = capsys.readouterr().out
    for family in ("matmul", "dram", "small-ops", "collectives", "decode", "ttft"):
        (line,) = [line for line in out.splitlines() if line.startswith(f"{family} ")]
        assert "missed" not in line
    assert "rows say too little to be predicted" in out


def test_a_family_is_shown_row_by_row_and_group_by_group(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["calibrate", "ttft"]) == 0
    out = capsys.readouterr().out
    assert "Llama-3.1-8B-Instruct quietbox2 performance prompt 2047, batch 1 served" in out
    assert "quietbox2 tuned served" in out
    assert "its TTFT grows with the output" in out


def test_json_has_every_row_with_its_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "collectives", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (family,) = report["families"]
    assert family["rows"] == len(report["rows"]) == 180
    assert family["meets"] is True
    for row in report["rows"]:
        assert row["error"] == pytest.approx(row["predicted_us"] / row["measured_us"] - 1, abs=2e-3)


def test_rows_are_written_as_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.csv"
    assert main(["calibrate", "small-ops", "--csv", str(path)]) == 0
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 27
    assert {row["family"] for row in rows} == {"small-ops"}


def test_own_rows_are_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + ROW.format(us=203.18) + ROW.format(us=406.36))
    assert main(["calibrate", "matmul", "--rows", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    first, second = (row["error"] for row in report["rows"])
    assert abs(first) < 0.1
    assert second == pytest.approx((1 + first) / 2 - 1, abs=1e-3)


def test_a_bad_row_is_named_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + ROW.format(us=203.18) + ROW.format(us="fast"))
    assert main(["calibrate", "matmul", "--rows", str(path)]) == 1
    assert "line 3: traced_us (='fast') must be a number above 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.csv", "there is no such file"),
        ("folder", "it is a folder"),
        ("latin.csv", "it is not UTF-8 (byte 2)"),
    ],
)
def test_rows_that_cannot_be_read_are_named(
    name: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.csv").write_bytes("caf\u00e9".encode("latin-1")[1:])
    path = tmp_path / name
    assert main(["calibrate", "matmul", "--rows", str(path)]) == 1
    assert f"UnreadableFile: {str(path)!r} cannot be read: {said}\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("mode", "turned", "line 2: mode (='turned') must be one of tuned, oob"),
        ("grid", "8x8", "line 2: grid (='8x8') must be one of 11x10"),
    ],
)
def test_a_mode_or_a_grid_that_there_is_not_is_refused(
    column: str, value: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD.replace("mood", column) + ROW.format(us=203.18).replace("good", value))
    assert main(["calibrate", "matmul", "--rows", str(path)]) == 1
    assert said in capsys.readouterr().err


def test_a_misspelt_column_is_named_and_a_strange_one_is_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD.replace("mood", "modex") + ROW.format(us=203.18))
    assert main(["calibrate", "matmul", "--rows", str(path)]) == 0
    assert "column 'modex' is not read: did you mean 'mode'?" in capsys.readouterr().err
    path.write_text(HEAD + ROW.format(us=203.18))
    assert main(["calibrate", "matmul", "--rows", str(path)]) == 0
    assert capsys.readouterr().err == ""


def test_own_rows_stand_alone_and_a_miss_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(HEAD + ROW.format(us=406.36))
    assert main(["calibrate", "matmul", "--rows", str(path)]) == 0
    out = capsys.readouterr().out
    assert "left out" not in out
    assert "missed: the median is over the target, or the bias beyond half of it." in out


def test_a_fit_prints_new_constants_beside_the_shipped_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["calibrate", "ttft", "--fit", "--loo", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    found = {each["constant"]: each for each in report["constants"]}
    host = found["tuned.any.host_op_us"]
    assert host["fitted"] == pytest.approx(host["shipped"], rel=0.1)
    assert report["fit"][0]["median"] == pytest.approx(report["families"][0]["median"], abs=0.02)
    assert len(report["families"][0]["left_out_groups"]) == 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["weather"], "collectives"),
        (["--write"], "--write goes with --fit"),
        (["--rows", "x.csv"], "--rows needs the family"),
        (["matmul", "--rows", "x.csv", "--fit"], "leave out --fit"),
    ],
)
def test_misuse_is_named(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["calibrate", *arguments])
    assert said in capsys.readouterr().err
