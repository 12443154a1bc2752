"""`meshtwin memory` as a user calls it."""

import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.memory.banks import layers_together
from meshtwin.chip.memory.config import MemoryConfig
from meshtwin.deploy.cli import main
from meshtwin.deploy.memory_picture import extent, svg, text_bar
from meshtwin.models.config import DecoderConfig

from ..models.tiny import hf_config, tiny_config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config.json and nothing else."""
    write(tmp_path, tiny_config(max_position_embeddings=4096))
    return tmp_path


def write(folder: Path, config: DecoderConfig) -> None:
    (folder / "config.json").write_text(json.dumps(hf_config(config)))


def test_it_tells_what_a_config_without_weights_would_take(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["memory", "--model", str(folder), "--box", "p150"]) == 0
    out = capsys.readouterr().out
    assert "chip 0 of 1 (p150), room for 2048 tokens" in out
    assert "model.layers.*.mlp.down_proj.weight" in out and "kv_cache" in out
    assert re.search(r"^A+", out, re.MULTILINE), "the largest holder, from the bottom of a bank"
    assert "one of 110 cores, L1: the first 1.50 MiB" in out
    assert "…" not in out


def test_json_has_every_block_of_both_memories(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["memory", "--model", str(folder), "--box", "galaxy", "--max-length", "64", "--json"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["box"], found["product"], found["max_length"]) == ("galaxy", "galaxy_bh", 64)
    dram, l1 = found["dram"], found["l1"]
    assert (dram["num_banks"], l1["num_banks"], l1["used_bytes"]) == (8, 120, 0)
    assert sum(block["nbytes"] for block in dram["blocks"]) == dram["capacity_bytes"]
    assert dram["blocks"][0]["address"] == dram["reserved_bytes"] == 64
    assert dict(dram["holders"])["kv_cache"] == 2 * 2 * 2048


def test_more_sequences_and_a_longer_prefill_take_more(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def peak(*argv: str) -> int:
        assert main(["memory", "--model", str(folder), "--box", "p150", "--json", *argv]) == 0
        found: dict[str, dict[str, int]] = json.loads(capsys.readouterr().out)
        return found["dram"]["peak_bytes"]

    assert peak("--prompt-length", "8") < peak("--prompt-length", "2000") < peak("--batch", "4")


def test_a_model_that_does_not_fit_fails_and_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, tiny_config(vocab_size=1 << 21, hidden_size=8192))
    assert main(["memory", "--model", str(tmp_path), "--box", "p150"]) == 1
    error = capsys.readouterr().err
    assert "OutOfMemory: chip 0: DRAM has no room for 'model.embed_tokens.weight'" in error


def test_the_picture_is_a_file_of_svg(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "memory.svg"
    assert main(["memory", "--model", str(folder), "--box", "p150", "--svg", str(file)]) == 0
    root = ET.parse(file).getroot()
    assert root.tag.endswith("svg")
    words = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(word.startswith("reserved") for word in words) == 2
    assert any(word.endswith("a core") for word in words)
    assert any("kv_cache" in word for word in words)
    assert any(word.startswith("L1: one of 110 cores") for word in words)


def test_a_program_of_ones_own_is_told_as_it_returns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "def program(chip):\n"
        "    x = chip.zeros((64, 64), what='x')\n"
        "    return chip.all_reduce(chip.add(x, x))\n"
    )
    assert main(["memory", "--program", str(file), "--box", "galaxy", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dram"]["holders"] == [["all_reduce", 2048]]
    assert found["dram"]["peak_bytes"] == 3 * 2048
    assert main(["memory", "--program", str(file)]) == 0
    assert "mine.py on quietbox2: chip 0 of 4 (p300c)\n" in capsys.readouterr().out
    file.write_text("x = 1\n")
    assert main(["memory", "--program", str(file)]) == 1
    assert "defines no function program(chip)" in capsys.readouterr().err


def test_a_bar_shows_each_holder_where_it_lies() -> None:
    chip = Chip.open("p150", plan=True)
    held = [
        chip.empty((110 * 32, 32 * size), memory=MemoryConfig.L1, what=f"layer {i} x")
        for i, size in enumerate((100, 200))
    ]
    other = chip.empty((110 * 32, 32 * 250), memory=MemoryConfig.L1, what="<scores>")
    report = chip.memory_report()
    bar = text_bar(report.l1, 96)
    assert re.fullmatch(r"#{7}\.+B+A+", bar), bar
    assert len(bar) == 96
    assert layers_together(report.l1.holders) == [
        ("layer * x", 300 * 2048),
        ("<scores>", 250 * 2048),
    ]
    assert "&lt;scores&gt;" in svg(report) and "<scores>" not in svg(report)
    assert set(text_bar(report.dram, 96)) == {"."}
    assert len(held) == 2 and other.memory is MemoryConfig.L1


def test_a_bar_of_a_bank_that_is_nearly_empty_ends_after_what_is_there() -> None:
    chip = Chip.open("p150", plan=True)
    assert extent(chip.memory_report().dram) == chip.spec.dram_bank_bytes
    small = chip.empty((320, 320), what="x")
    assert extent(chip.memory_report().dram) == 1 << 15
    assert text_bar(chip.memory_report().dram, 32) == "A" * 26 + "." * 6
    assert small.shape == (320, 320)


def test_a_name_of_the_catalogue_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["memory", "--model", "llama-3.2-1b", "--box", "p150", "--max-length", "64"]
    assert main(argv) == 0
    assert "llama-3.2-1b on p150: chip 0 of 1 (p150), room for 64" in capsys.readouterr().out


def test_a_model_that_is_unknown_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--model", "llama-3.2-2b"]) == 1
    assert "unknown model 'llama-3.2-2b': did you mean 'llama-3.2-" in capsys.readouterr().err
