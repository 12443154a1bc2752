"""What the doctor finds, and what it says about it."""

import json
import sys
from typing import Any

import pytest

from meshtwin.chip import kernels
from meshtwin.deploy import doctor_command
from meshtwin.deploy.cli import main
from meshtwin.deploy.doctor_command import EXTENSIONS, advice, examine


def healthy(**changed: Any) -> dict[str, Any]:
    """A report without anything to do, and what the test changes of it."""
    return {
        "extensions": dict.fromkeys(EXTENSIONS, True),
        "instruction_set": "avx2",
        "available_bytes": 16 << 30,
        "shared_memory_bytes": 8 << 30,
    } | changed


def test_a_report_names_every_extension_and_the_instruction_set_in_use() -> None:
    report = examine()
    assert set(report["extensions"]) == set(EXTENSIONS)
    assert report["extensions"]["chip.kernels._core"] == kernels.COMPILED
    assert report["instruction_set"] == kernels.instruction_set()
    assert report["packages"]["numpy"]
    assert report["num_cpus"] >= 1
    assert report["memory_bytes"] >= report["available_bytes"] > 0


def test_a_healthy_machine_needs_nothing() -> None:
    assert advice(healthy()) == []


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"extensions": dict.fromkeys(EXTENSIONS, False)}, "Install gcc or clang"),
        ({"instruction_set": "portable"}, "no AVX2"),
        ({"available_bytes": 1 << 30}, "1.1 GB of memory are free"),
        ({"shared_memory_bytes": 64 << 20}, "--shm-size"),
    ],
)
def test_each_lack_has_its_advice(changed: dict[str, Any], word: str) -> None:
    assert word in " ".join(advice(healthy(**changed)))


def test_what_the_machine_does_not_say_is_no_lack() -> None:
    assert advice(healthy(available_bytes=None, shared_memory_bytes=None)) == []


def test_a_missing_extension_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meshtwin.fabric.transport._heap", None)
    report = examine()
    assert not report["extensions"]["fabric.transport._heap"]
    assert "meshtwin.fabric.transport._heap is missing" in " ".join(report["advice"])


def test_the_command_prints_a_table_or_json_and_fails_when_something_is_to_be_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = examine() | {"advice": []}
    monkeypatch.setattr(doctor_command, "examine", lambda: found)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "instruction set" in out
    assert "All is well." in out
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == found
    found["advice"] = ["Do this."]
    assert main(["doctor"]) == 1
    assert "Do this." in capsys.readouterr().out
