"""`meshtwin sweep` as a user calls it."""

import csv
import json
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main
from meshtwin.deploy.experiments.sweep import read_sweep

ROOT = Path(__file__).parent.parent.parent
TEXT = """
def point(chips, model):
    if chips == 8:
        raise MemoryError("too large")
    return {"sim_tokens_per_s": 10 * chips, "x": None}

grid = {"model": ["a", "b"], "chips": [1, 2, 8]}
"""


def answer(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    assert main(["sweep", *argv]) == code
    return capsys.readouterr().out


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(TEXT)
    return str(tmp_path / "mine.py")


def test_it_writes_results_and_a_page_and_counts_what_failed(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = answer(capsys, file, "--local")
    assert out.startswith("mine: 6 points, 2 failed\n  2 x MemoryError: too large (at ")
    with (tmp_path / "mine-results" / "results.csv").open() as results:
        assert [row["sim_tokens_per_s"] for row in csv.DictReader(results)][:3] == ["10", "20", ""]
    page = (tmp_path / "mine-results" / "report.html").read_text()
    assert "Simulated tokens/s of all users against chips" in page
    assert answer(capsys, file, "--dry-run").startswith("mine: 6 points, 6 of them done in ")


def test_the_answer_for_machines_has_rows_versions_and_files(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(answer(capsys, file, "--local", "--json", "--out", str(tmp_path / "out")))
    assert found["about"]["failed"] == 2
    assert found["rows"][1] == {
        "model": "a", "chips": 2, "sim_tokens_per_s": 20, "x": None, "error": "",
    }  # fmt: skip
    assert all(Path(path).exists() for path in found["files"])
    assert (tmp_path / "out" / "results.csv").exists()


def test_pictures_are_drawn_when_asked(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    answer(capsys, file, "--local", "--png")
    assert (tmp_path / "mine-results" / "sim_tokens_per_s-chips.png").exists()


def test_a_sweep_of_failures_fails_and_a_wrong_file_is_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text(TEXT.replace("[1, 2, 8]", "[8]"))
    answer(capsys, str(tmp_path / "bad.py"), "--local", code=1)
    (tmp_path / "bad.py").write_text(TEXT.replace('"chips":', '"chps":'))
    assert main(["sweep", str(tmp_path / "bad.py")]) == 1
    err = capsys.readouterr().err
    assert "bad.py:7: the function takes no 'chps': did you mean 'chips'?" in err
    assert main(["sweep", str(tmp_path / "absent.py")]) == 1


def test_a_limit_of_a_name_that_no_row_has_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(TEXT + "limits = {'sim_tokens_s': {'above': 15}}\n")
    out = answer(capsys, str(tmp_path / "mine.py"), "--local")
    assert out.startswith("mine: 6 points, 2 failed, 4 within the limits\n")
    assert "no row has 'sim_tokens_s', which a limit or a chart names: did you mean" in out


def test_what_does_not_fit_is_not_within_the_limits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(
        '[grid]\nmodel = ["llama-3.1-70b"]\nbox = ["quietbox2"]\ntp = [1, 4]\nbatch = [1, 2]\n'
        "[limits]\nsim_ttft_ms = { below = 1e6 }\n"
    )
    out = answer(capsys, str(tmp_path / "mine.toml"), "--local")
    assert out.startswith("mine: 4 points, 0 failed, 2 do not fit, 2 within the limits\n")


@pytest.mark.ray
def test_points_run_on_ray(
    ray_session: None, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(capsys, file).startswith("mine: 6 points, 2 failed")


def test_the_toml_example_is_a_sweep_of_the_planner() -> None:
    pytest.importorskip("meshtwin.models.catalogue")
    sweep = read_sweep(ROOT / "examples" / "scaling.toml")
    assert len(sweep.points) == 72
    assert {point.get("batch") for point in sweep.points} == {32, None}


def test_a_sweep_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nofile.toml"
    assert main(["sweep", str(path)]) == 1
    assert f"{str(path)!r} cannot be read: there is no such file" in capsys.readouterr().err
