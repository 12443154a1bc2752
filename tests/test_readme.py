"""The README's promises: its Python runs, its test passes, its links lead somewhere."""

import re
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.ray
def test_the_python_of_the_readme_runs(
    ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    out = capsys.readouterr().out
    assert "(64, 32)" in out
    assert "simulated picoseconds" in out


@pytest.mark.ray
def test_the_test_of_the_readme_passes(ray_session: None, pytester: pytest.Pytester) -> None:
    _, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    head = "import numpy as np\nimport pytest\nfrom meshtwin import Replicate\n\n\n"
    pytester.makepyfile(head + code)
    pytester.runpytest_inprocess("--strict-markers").assert_outcomes(passed=2)


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert not [target for target in targets if not (ROOT / target).exists()]


def test_what_explain_says_in_the_readme_is_what_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (block,) = re.findall(r"```\n\$ meshtwin (explain .*?)```", README, re.DOTALL)
    command, *lines = block.splitlines()
    assert main(command.split()) == 0
    out = capsys.readouterr().out.splitlines()
    shown = [line.removesuffix(" ...") for line in lines if line != "..."]
    assert len(shown) > 3
    assert not [line for line in shown if not any(o.startswith(line) for o in out)]


def test_the_residuals_in_the_docs_are_those_of_calibrate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs" / "collectives.md").read_text(encoding="utf-8")
    (table,) = re.findall(r"```\n(group .*?)```", page, re.DOTALL)
    assert main(["calibrate", "collectives"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    shown = table.splitlines()
    assert lines[-len(shown) :] == shown
