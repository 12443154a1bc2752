"""`meshtwin plan` as a user calls it."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.text import Text

from meshtwin.deploy.cli import main
from meshtwin.deploy.experiments.evaluate import evaluate

from ..models.tiny import hf_config, tiny_config

Capture = pytest.CaptureFixture[str]
GALAXY = ["--model", "llama-3.1-70b", "--box", "galaxy", "--tp", "8", "--dp", "4", "--batch", "32"]


def plan(capsys: Capture, *argv: str, code: int = 0) -> Any:
    """What --json answers."""
    assert main(["plan", *argv, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_name_is_enough(capsys: Capture) -> None:
    assert main(["plan", "llama-3.2-1b"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("llama-3.2-1b on quietbox2: tp 4 (2x2) x dp 1, 4 of 4 chips\n1 user, ")
    for word in ("TTFT", "tokens/s/user", "DRAM of a chip", "L1 of a core", "all_reduce", "linear"):
        assert word in out


def test_json_has_figures_memory_and_every_op(capsys: Capture) -> None:
    found = plan(capsys, *GALAXY)
    assert found["fits"] and found["mesh"] in ([8, 1], [4, 2], [2, 4])
    assert (found["num_chips"], found["num_users"], found["num_users_of_replica"]) == (32, 32, 8)
    rate = found["sim_tokens_per_s_per_user"]
    assert found["sim_tokens_per_s"] == pytest.approx(32 * rate)
    assert found["sim_step_s"] == pytest.approx(1 / rate)
    assert found["sim_prefill_all_s"] == pytest.approx(8 * found["sim_ttft_s"])
    assert found["positions"] == {"first": 128, "middle": 192, "last": 254}
    memory = found["memory"]
    parts = sum(memory[f"{part}_bytes"] for part in ("weight", "cache", "activation"))
    assert parts == memory["dram_peak_bytes"] < memory["dram_capacity_bytes"]
    for phase, seconds in (("decode", found["sim_step_s"]), ("prefill", found["sim_ttft_s"])):
        ops = found[phase]["ops"]
        assert sum(op["sim_duration_ps"] for op in ops) == found[phase]["sim_duration_ps"]
        assert found[phase]["sim_duration_ps"] / 1e12 == pytest.approx(seconds)
        assert sum(op["count"] for op in ops) == found[phase]["num_ops"]
        assert sum(op["share"] for op in ops) == pytest.approx(1)


def test_it_says_what_a_sweep_says(capsys: Capture) -> None:
    point = {"model": "llama-3.2-1b", "box": "p300", "dp": 2, "batch": 5, "prompt": 77}
    options = [text for name, value in point.items() for text in (f"--{name}", str(value))]
    found, swept = plan(capsys, *options), evaluate(point)
    assert found["sim_ttft_s"] * 1e3 == pytest.approx(swept["sim_ttft_ms"])
    assert found["sim_tokens_per_s"] == swept["sim_tokens_per_s"]
    assert found["decode"]["shares"]["dram"] == swept["share_dram"]
    assert found["memory"]["dram_peak_bytes"] == swept["dram_bytes"]


def test_tables_can_be_short_or_left_out(capsys: Capture) -> None:
    def lines(*argv: str) -> list[str]:
        assert main(["plan", "llama-3.2-1b", *argv]) == 0
        return capsys.readouterr().out.splitlines()

    short, none = lines("--top", "3"), lines("--no-ops")
    assert len(short) == len(none) + 2 * (1 + 3 + 1)
    assert sum(line.startswith("(others)") for line in short) == 2
    assert "ops" not in plan(capsys, "llama-3.2-1b", "--no-ops")["decode"]


@pytest.mark.parametrize("width", [80, 120])
def test_no_line_is_wider_than_the_terminal(
    width: int, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["plan", *GALAXY, "--prompt", "2048"]) == 0
    lines = Text.from_ansi(capsys.readouterr().out).plain.splitlines()
    assert max(map(cell_len, lines)) <= width
    rows = [line.split() for line in lines if line.startswith("linear")]
    assert rows and all(row[-1].endswith("%") for row in rows)


def test_what_does_not_fit_says_what_would(capsys: Capture) -> None:
    argv = ["llama-3.1-70b", "--tp", "1", "--batch", "64"]
    assert main(["plan", *argv]) == 1
    out = capsys.readouterr().out
    assert "It does not fit: there is no room for 'model.layers." in out
    assert "more chips       --tp 2 --dp 1" in out
    assert "lower precision  none" in out and "fewer users      none" in out
    found = plan(capsys, *argv, code=1)
    assert not found["fits"] and "DRAM has no room" in found["why_not"]
    assert found["memory"]["dram_peak_bytes"] > found["memory"]["dram_capacity_bytes"]
    changes = {one["change"]: one["to"] for one in found["alternatives"]}
    assert changes["tp"]["tp"] == 2 and changes["precision"] is None


def test_what_fits_no_part_of_a_box_is_sent_to_another(capsys: Capture) -> None:
    assert main(["plan", "llama-3.1-70b", "--box", "p150", "--set", "dram.gib=16"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"DRAM of a chip +\d+\.\d+ of 1[67]\.\d+ GB", out)
    assert re.search(r"other box +--box \w+ --tp 2 --dp 1", out)


def test_a_note_of_the_catalogue_is_told(capsys: Capture) -> None:
    note = "text without pictures: the 8 cross-attention layers are skipped"
    options = ("--precision", "bfp4_b", "--no-ops")
    assert plan(capsys, "llama-3.2-11b", *options)["model_notes"] == [note]
    assert plan(capsys, "llama-3.2-1b", *options)["model_notes"] == []
    assert main(["plan", "llama-3.2-11b", *options]) == 0
    assert f"; all simulated\n{note}\n\n" in capsys.readouterr().out


def test_a_config_is_a_model(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "config.json").write_text(json.dumps(hf_config(tiny_config(vocab_size=100))))
    options = ["--prompt", "5", "--output", "9", "--no-ops"]
    of_file = plan(capsys, str(tmp_path / "config.json"), *options)
    of_folder = plan(capsys, "--model", str(tmp_path), *options)
    assert of_file["sim_ttft_s"] == of_folder["sim_ttft_s"] > 0


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["llama-3-8b"], "UnknownShape: unknown model 'llama-3-8b': did you mean 'llama-3.1-8b'?"),
        (["cfg/nofile.json"], "there is no file or folder 'cfg/nofile.json'"),
        (["llama-3.1-8b", "--dp", "4", "--batch", "3"], "1 of dp 4 replicas idle"),
        (["llama-3.1-8b", "--tp", "3"], "PlanError: no mesh of 3 chips fits into quietbox2"),
        (["llama-3.1-8b", "--dp", "8"], "the largest dp is 4"),
        (["llama-3.1-8b", "--prompt", "200000"], "128 tokens of output is 130944"),
    ],
)
def test_what_cannot_be_planned_is_one_line(argv: list[str], text: str, capsys: Capture) -> None:
    assert main(["plan", *argv]) == 1
    out, err = capsys.readouterr()
    assert not out and text in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        ([], "one of the arguments MODEL --model is required"),
        (["a", "--model", "b"], "not allowed with argument"),
        (["a", "--stack", "tund"], "invalid choice: 'tund'"),
        (["a", "--precision", "performence"], "did you mean 'performance'?"),
        (["a", "--batch", "0"], "'0' is not a whole number, 1 or more"),
    ],
)
def test_misuse_shows_the_usage(argv: list[str], text: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["plan", *argv])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert "usage: meshtwin plan" in err and text in err


def test_the_reports_are_of_all_chips_of_a_replica(tmp_path: Path, capsys: Capture) -> None:
    table = tmp_path / "ops.csv"
    found = plan(capsys, "llama-3.2-1b", "--dp", "2", "--perf-csv", str(table))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    durations = {"0": 0, "1": 0}
    for row in rows:
        durations[row["DEVICE ID"]] += int(row["SIM DURATION [ps]"])
    whole = found["prefill"]["sim_duration_ps"] + found["decode"]["sim_duration_ps"]
    assert durations == {"0": whole, "1": whole}


def test_it_imports_neither_ray_nor_what_loads_checkpoints() -> None:
    """Imports are most of the time of the command."""
    code = (
        "import sys; from meshtwin.deploy.cli import main; main(['plan', 'llama-3.2-1b']); "
        "print({name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1]
    unwanted = ("ray", "transformers", "torch", "safetensors", "tokenizers", "pandas", "matplotlib")
    assert not [name for name in unwanted if f"'{name}'" in modules]
