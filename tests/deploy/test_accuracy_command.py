"""`meshtwin accuracy`: misuse is named; a table, or JSON, with a row for each dtype."""

import json
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main

from ..models.tiny import tiny_config, write_tiny
from ..models.tiny_tokenizer import byte_level_tokenizer, write_tokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a tokenizer, and a text beside it."""
    tokenizer = byte_level_tokenizer()
    config = tiny_config(vocab_size=tokenizer.get_vocab_size())
    folder = write_tiny(tmp_path_factory.mktemp("model"), config)
    write_tokenizer(folder, tokenizer)
    (folder / "text.txt").write_text("the cat sat on the mat and " * 20)
    return folder


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--window", "1"], "'1' is not a whole number, 2 or more"),
        (["--window", "300", "--tokens", "200"], "the nearest is --window 200"),
        (["--fidelity", "HiFi5"], "unknown fidelity 'HiFi5': did you mean 'HiFi"),
        (["--dtype", "bf17"], "unknown precision 'bf17'"),
        (["--dtype", "bf16", "int8"], "unknown precision 'int8'"),
    ],
)
def test_misuse_names_what_would_be_right(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["accuracy", *argv])
    assert stop.value.code == 2
    assert text in capsys.readouterr().err


def test_a_window_beyond_the_context_is_refused(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["accuracy", "--model", str(model), "--text", str(model / "text.txt"), "--window", "65"]
    assert main(argv) == 1
    assert "--window 65 is more than the model's context: 64" in capsys.readouterr().err


@pytest.mark.ray
def test_each_dtype_gets_a_row(
    model: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["accuracy", "--model", str(model), "--text", str(model / "text.txt"), "--box", "p150"]
    argv += ["--window", "16", "--tokens", "50", "--dtype", "bf16", "float32"]
    assert main([*argv, "--json"]) == 0
    low, same = json.loads(capsys.readouterr().out)["rows"]
    assert (low["precision"], low["num_tokens"]) == ("bfloat16", 45)
    assert 0.5 < low["top1"] <= low["top5"] <= 1 and low["perplexity"] > 1
    assert (same["top1"], same["top5"]) == (1.0, 1.0)
    assert same["perplexity"] == same["reference_perplexity"] == low["reference_perplexity"]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "3 windows of 16 tokens" in out and "100.00 %" in out
    assert "bfloat16: 2 of 3 windows" in err


@pytest.mark.ray
def test_a_fidelity_costs_accuracy_in_float32_too(
    model: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["accuracy", "--model", str(model), "--text", str(model / "text.txt"), "--box", "p150"]
    argv += ["--window", "16", "--tokens", "50", "--dtype", "float32", "--fidelity", "lofi"]
    assert main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    (row,) = json.loads(out)["rows"]
    assert row["perplexity"] != row["reference_perplexity"]
    assert "float32, LoFi: 3 of 3 windows" in err
