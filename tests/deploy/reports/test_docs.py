"""The page on reports: its example runs and prints, and the real tool says, what the page shows."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .trace_processor import query

PAGE = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", PAGE, re.DOTALL)
LIMIT_S = 120.0
TOOL = "import sys; from tt_perf_report.perf_report import main; sys.exit(main())"


@pytest.fixture
def folder(ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the example has run; what it printed is in the file `out`."""
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(BLOCKS[0][1], "reports.md", "exec"), {"__name__": "reports"})
    (tmp_path / "out").write_text(out.getvalue())
    return tmp_path


@pytest.mark.ray
def test_the_example_prints_what_the_page_shows(folder: Path) -> None:
    assert (folder / "out").read_text() == BLOCKS[1][1]
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert written == [
        "layer.csv", "layer.et/comm_group.json", "layer.et/meshtwin.0.et",
        "layer.et/meshtwin.1.et", "layer.perfetto-trace", "out",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.ray
def test_tt_perf_report_says_what_the_page_shows(folder: Path) -> None:
    pytest.importorskip("tt_perf_report")
    done = subprocess.run(
        [sys.executable, "-c", TOOL, "layer.csv", "--no-color", "--no-advice"],
        cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert [line for line in BLOCKS[2][1].splitlines() if line not in lines] == []


@pytest.mark.slow
@pytest.mark.ray
def test_the_query_of_the_page_adds_up(folder: Path) -> None:
    (sql,) = [text for language, text in BLOCKS if language == "sql"]
    (rows,) = query(folder / "layer.perfetto-trace", sql)
    printed = [line.split() for line in BLOCKS[1][1].splitlines()]
    lanes = {"dram": "DRAM", "fabric": "fabric (links)"}
    times = [(lanes[bound], int(start), int(took)) for start, took, bound, _ in printed]
    assert sorted(rows) == [
        (f"chip {rank} (p300c), simulated time", lane, 1, (start + ps) // 1000 - start // 1000, ps)
        for rank in range(2)
        for lane, start, ps in times
    ]


def test_links_of_the_page_lead_somewhere() -> None:
    docs = Path(__file__).parents[3] / "docs"
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", PAGE)
    assert targets
    assert not [target for target in targets if not (docs / target).exists()]
