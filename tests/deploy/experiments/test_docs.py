"""docs/sweeps.md: its Python runs, its answers are those of the command."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main
from meshtwin.deploy.experiments.evaluate import VALUES
from meshtwin.deploy.experiments.toml_file import SECTIONS

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "sweeps.md").read_text(encoding="utf-8")


def answers() -> dict[str, str]:
    """What the page says that commands print."""
    blocks = re.findall(r"```\n\$ meshtwin (.*?)\n(.*?)```", TEXT, re.DOTALL)
    return {command: answer for command, answer in blocks if answer}


def test_the_python_sweep_prints_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    Path("sends.py").write_text(code)
    assert main(["sweep", "sends.py", "--local"]) == 0
    want, got = answers()["sweep sends.py --local"], capsys.readouterr().out
    assert doctest.OutputChecker().check_output(want, got, doctest.ELLIPSIS), got


def test_a_mistake_is_named_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("typo.toml").write_text("[sweep]\n\n[gird]\n")
    assert main(["sweep", "typo.toml"]) == 1
    assert capsys.readouterr().err == answers()["sweep typo.toml"]


def test_the_toml_of_the_page_has_legal_sections_and_values() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    data = tomllib.loads(text)
    assert set(data) == set(SECTIONS)
    assert set(data["grid"]) <= set(VALUES)
    assert all(f"`{name}`" in TEXT for name in VALUES)


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert targets
    assert all((ROOT / "docs" / target).exists() for target in targets)
