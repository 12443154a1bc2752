"""Sweeps in Python."""

from pathlib import Path

import pytest

from meshtwin.deploy.errors import SweepFileError, UnreadableFile
from meshtwin.deploy.experiments.sweep import read_sweep

from .lab import SQUARES, sweep_of


def test_a_file_has_a_function_and_a_grid(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, SQUARES)
    assert sweep.name == "lab"
    assert sweep.names == ["n", "scale"]
    assert len(sweep.points) == 8
    assert sweep.function.load()(n=5)["square"] == 25


def test_points_can_be_listed_and_each_counts_once(tmp_path: Path) -> None:
    text = SQUARES + "grid = [{'n': 1}, {'n': 2, 'scale': 3}, {'n': 1}]\nname = 'mine'\n"
    sweep = sweep_of(tmp_path, text)
    assert sweep.points == ({"n": 1}, {"n": 2, "scale": 3})
    assert sweep.name == "mine"


def test_only_code_changes_what_the_function_is(tmp_path: Path) -> None:
    first = sweep_of(tmp_path, SQUARES).function.digest
    same = "# a comment\n" + SQUARES.replace("[1, 2, 3, 4]", "[7]") + "limits = {}\n"
    assert sweep_of(tmp_path, same).function.digest == first
    assert sweep_of(tmp_path, SQUARES.replace("n * n", "n + n")).function.digest != first


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("def point(", "def pont(", 1, "defines no 'point' (def point(**values) -> dict): did"),
        ("grid =", "gird =", 1, "no 'grid' (a dict of lists, or a list of dicts): did you mean"),
        ('"scale": [', '"sclae": [', 7, "takes no 'sclae': did you mean 'scale'?"),
        ('"n": [1, 2, 3, 4], ', "", 7, "the function needs 'n', and the grid has none"),
        ("[1, 10]", "10", 7, "scale (=10) must be a list of values"),
        ("if n == 3:", "if n = 3:", 3, "syntax error"),
        ("grid =", "grid = 1 / 0 or", 7, "ZeroDivisionError: division by zero"),
        ("[1, 10]", "[1, 10]}\nlimits = {'sim_ms': {'blow': 1}", 8, "did you mean 'below'?"),
        ("[1, 10]", "[1, 10]}\ncharts = {'n': 1", 8, "charts must be pairs of names"),
    ],
)
def test_a_mistake_is_found_at_its_line(
    tmp_path: Path, old: str, new: str, line: int, what: str
) -> None:
    assert old in SQUARES
    with pytest.raises(SweepFileError) as caught:
        sweep_of(tmp_path, SQUARES.replace(old, new, 1))
    assert what in caught.value.what
    assert caught.value.line == line
    assert caught.value.path == tmp_path / "lab.py"


def test_other_files_and_empty_grids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepFileError, match=r"a sweep is a \.toml or a \.py file"):
        sweep_of(tmp_path, "", "lab.yaml")
    with pytest.raises(SweepFileError, match="has no points"):
        sweep_of(tmp_path, SQUARES + "grid = []\n")
    with pytest.raises(UnreadableFile):
        read_sweep(tmp_path / "absent.toml")


def test_a_file_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_lab.py").write_text("def double(n):\n    return {'twice': 2 * n}\n")
    text = "from neighbour_of_lab import double as point\ngrid = {'n': [1]}\n"
    assert sweep_of(tmp_path, text).function.load()(n=4) == {"twice": 8}
