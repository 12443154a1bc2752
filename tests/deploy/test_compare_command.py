"""`meshtwin compare`: help that teaches, misuse named, tables and JSON, and the exit code."""

import json
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main

from ..models.tiny import tiny_config, write_tiny
from ..models.tiny_tokenizer import byte_level_tokenizer, write_tokenizer


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two models of one shape, and one of another, with a tokenizer each."""
    tokenizer = byte_level_tokenizer()
    made = {}
    for name, num_layers, seed in (("own", 2, 0), ("other", 2, 1), ("deeper", 3, 0)):
        config = tiny_config(vocab_size=tokenizer.get_vocab_size(), num_layers=num_layers)
        made[name] = write_tiny(tmp_path_factory.mktemp(name), config, seed=seed)
        write_tokenizer(made[name], tokenizer)
    return made


def test_help_says_what_each_reference_finds(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for word in (
        "--against one-chip",
        "sees no wrong weight",
        "exit code: 0",
        "--bound-pcc 0.9999",
    ):
        assert word in text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--against", "flaot32"], "unknown reference 'flaot32': did you mean 'float32'?"),
        (["--against", "onechip"], "did you mean 'one-chip'?"),
        (["--box", "quietbox3"], "no box is called 'quietbox3'"),
        (["--dtype", "bfloat61"], "unknown precision 'bfloat61': did you mean 'bfloat16'?"),
        (["--dtype", "int32"], "unknown precision 'int32': did you mean '"),
        (["--bound-pcc", "2"], "pcc (=2.0) must be within -1 .. 1"),
        (["--bound-ulps", "-1"], "'-1' is not a whole number, 0 or more"),
        (["--ops", "--every-chip"], "not allowed with"),
    ],
)
def test_misuse_names_what_would_be_right(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["compare", *argv])
    assert stop.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "the " * 70], "> the context of 64"),
        (["--against", "./nothing"], "CheckpointNotFound: ./nothing"),
    ],
)
def test_what_cannot_be_is_refused_before_any_chip_starts(
    argv: list[str], text: str, folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "--model", str(folders["own"]), *argv]) == 1
    assert text in capsys.readouterr().err


def test_a_reference_of_another_shape_is_refused(
    folders: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["compare", "--model", str(folders["own"]), "--against", str(folders["deeper"])]
    assert main(argv) == 1
    assert "num_layers is 3, but 2 in the model" in capsys.readouterr().err


@pytest.mark.ray
@pytest.mark.parametrize("against", ["float32", "one-chip"])
def test_a_table_with_a_row_for_each_layer_and_the_verdict(
    against: str, folders: dict[str, Path], ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["compare", "--model", str(folders["own"]), "--box", "p300", "--against", against]
    assert main([*argv, "--prompt", "the cat"]) == 0
    out, err = capsys.readouterr()
    assert "layer 0" in out and "layer 1" in out and "embedding" in out
    assert "on 2 chips: all within bounds (PCC >= 0.99, relative RMS <= 0.3)" in out
    assert "comparing 2 layers" in err


@pytest.mark.ray
def test_other_weights_are_out_of_bounds_in_json_and_by_exit_code(
    folders: dict[str, Path], ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["compare", "--model", str(folders["own"]), "--against", str(folders["other"])]
    assert main([*argv, "--box", "p300", "--prompt", "the cat", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["finding"]["row"]["op"] == "embedding"
    assert answer["finding"]["inputs_were_fine"]
    assert answer["finding"]["row"]["inputs"][1]["note"] == "not the reference's"
    assert {row["chip"] for row in answer["rows"]} == {0, 1}
