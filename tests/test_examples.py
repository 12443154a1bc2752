"""The examples run as a user runs them, elsewhere and alone, and print what they say they print."""

import ast
import doctest
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LIMIT_S = 120.0
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
OPEN_A_MESH = ("custom_algorithm", "fault_hunt", "test_my_collective")


def promised(path: Path) -> str:
    """The output that the example's docstring shows; `...` stands for anything."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return textwrap.dedent(text.partition("Output:\n\n")[2]) + "\n"


def printed(path: Path, folder: Path) -> str:
    """What a copy of the example prints, in a folder of its own."""
    copy = shutil.copy(path, folder)
    command = ["-m", "pytest"] if path.name.startswith("test_") else []
    done = subprocess.run(
        [sys.executable, *command, copy],
        cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path, id=path.stem, marks=[pytest.mark.ray] if path.stem in OPEN_A_MESH else []
        )
        for path in sorted(EXAMPLES.glob("*.py"))
    ],
)
def test_an_example_prints_what_it_promises(path: Path, tmp_path: Path) -> None:
    want, got = promised(path), printed(path, tmp_path)
    assert want.strip(), "its docstring shows its output after the line `Output:`"
    assert doctest.OutputChecker().check_output(want, got, FLAGS), got
