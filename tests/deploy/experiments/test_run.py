"""Running and continuing a sweep."""

from pathlib import Path

import pytest

from meshtwin.deploy.experiments.journal import FILE, Journal
from meshtwin.deploy.experiments.run import run_sweep
from meshtwin.deploy.experiments.workers import on_this_process

from .lab import SQUARES, rows_of, stamp, sweep_of

COUNTED = """
from pathlib import Path
def point(n):
    with Path(__file__).with_suffix(".count").open("a") as file:
        file.write(f"{n}\\n")
    if n == 2 and not Path(__file__).with_suffix(".mended").exists():
        raise RuntimeError("not yet")
    return {"square": n * n}
grid = {"n": [1, 2, 3]}
"""


def calls(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "lab.count").read_text().split()]


def test_rows_are_values_results_and_errors_in_the_order_of_the_grid(tmp_path: Path) -> None:
    rows = rows_of(sweep_of(tmp_path, SQUARES), tmp_path)
    assert rows[1] == {"n": 1, "scale": 10, "square": 10, "sim_ms": 0.5, "error": ""}
    assert [row["n"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert rows[4] == {
        "n": 3,
        "scale": 1,
        "error": f"ValueError: three is odd (at {tmp_path / 'lab.py'}:4)",
    }


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    first = rows_of(sweep_of(tmp_path, COUNTED), tmp_path)
    assert rows_of(sweep_of(tmp_path, COUNTED), tmp_path) == first
    assert calls(tmp_path) == [1, 2, 3]
    more = sweep_of(tmp_path, COUNTED.replace("[1, 2, 3]", "[4, 3, 1]"))
    assert [row["square"] for row in rows_of(more, tmp_path)] == [16, 9, 1]
    assert calls(tmp_path) == [1, 2, 3, 4]
    changed = sweep_of(tmp_path, COUNTED.replace("n * n", "n * n + 1"))
    assert [row.get("square") for row in rows_of(changed, tmp_path)] == [2, None, 10]


def test_only_what_failed_is_tried_again_when_asked(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, COUNTED)
    rows_of(sweep, tmp_path)
    (tmp_path / "lab.mended").touch()
    assert rows_of(sweep, tmp_path)[1]["error"]
    rows = rows_of(sweep, tmp_path, retry_failed=True)
    assert [row["square"] for row in rows] == [1, 4, 9]
    assert calls(tmp_path) == [1, 2, 3, 2]


def test_an_interrupted_sweep_goes_on(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, COUNTED)
    seen: list[tuple[int, int, int]] = []

    def report(done: int, total: int, failed: int) -> None:
        seen.append((done, total, failed))
        if done == 2:
            raise KeyboardInterrupt

    with Journal(tmp_path) as journal, pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, stamp(sweep), journal, on_this_process, report)
    assert seen == [(0, 3, 0), (1, 3, 0), (2, 3, 1)]
    assert len(rows_of(sweep, tmp_path)) == 3
    assert calls(tmp_path) == [1, 2, 3]
    assert (tmp_path / FILE).read_text().count("\n") == 3


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        ("42", "TypeError: the function must return a dict, and returned 42"),
        ("{'n': 7}", "ValueError: the result's 'n' is 7, and the point's 1"),
        ("{'error': 0.1}", "ValueError: 'error' is a column of its own: give yours another name"),
        ("{'x': object}", "TypeError: <class 'object'> is neither"),
    ],
)
def test_a_result_that_cannot_be_kept_is_an_error(tmp_path: Path, returned: str, what: str) -> None:
    text = f"def point(n):\n    return {returned}\ngrid = {{'n': [1]}}\n"
    (row,) = rows_of(sweep_of(tmp_path, text), tmp_path)
    assert row["error"].startswith(what)


def test_rows_say_which_limits_they_break(tmp_path: Path) -> None:
    text = SQUARES + "limits = {'sim_ms': {'below': 1.5}, 'n': {'above': 2}}\n"
    rows = rows_of(sweep_of(tmp_path, text), tmp_path)
    assert [row["n"] for row in rows] == [2, 2, 3, 3, 4, 4]  # values outside are left out
    assert [row["limits"] for row in rows[::2]] == ["", "", "sim_ms 2 is not below 1.5"]
