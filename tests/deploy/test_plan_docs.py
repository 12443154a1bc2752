"""docs/plan.md: its answers are those of the command, its Python and its links are right."""

import re
import shlex
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main
from meshtwin.models.model_plan import plan_model
from meshtwin.models.plan import Deployment

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "plan.md").read_text(encoding="utf-8")
ANSWERS = re.findall(r"```\n\$ meshtwin (.*?)\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize(("command", "answer"), ANSWERS)
def test_a_command_prints_what_the_page_says(
    command: str, answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(shlex.split(command))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == answer.splitlines()


def test_the_page_has_both_kinds_of_answers_and_its_python_plans() -> None:
    assert len(ANSWERS) == 2
    assert 'plan_model(Deployment.of("llama-3.1-8b"))' in TEXT
    assert plan_model(Deployment.of("llama-3.1-8b")).sim_tokens_per_s > 0


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)
    assert targets and all((DOCS / target).exists() for target in targets)
