"""The command line: help that teaches, answers, and errors in one line with the right exit code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main
from meshtwin.fabric.topology import boxes

from ..models.tiny import tiny_config, write_tiny
from ..models.tiny_tokenizer import byte_level_tokenizer, write_tokenizer


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole, tiny Llama: its vocabulary is that of the byte-level tokenizer."""
    tokenizer = byte_level_tokenizer()
    config = tiny_config(vocab_size=tokenizer.get_vocab_size(), num_heads=3, num_kv_heads=3)
    folder = write_tiny(tmp_path_factory.mktemp("model"), config)
    write_tokenizer(folder, tokenizer)
    return folder


def failed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The one line on stderr of a command that fails with exit code 1."""
    assert main(argv) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    (line,) = err.splitlines()
    return line


def misused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The text on stderr of a command that was called wrongly: exit code 2."""
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_help_names_every_command_and_gives_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert all(word in text for word in ("generate", "pull", "boxes", "examples:", "--version"))


def test_boxes_lists_every_box(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in boxes())


def test_boxes_as_json_has_chips_shape_links_and_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boxes", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    box = rows["quietbox2"]
    assert (box["num_chips"], box["shape"], box["ring"]) == (4, [2, 2], [0, 1, 3, 2])
    assert (box["links_per_edge"], box["link_bytes_per_s"]) == (2, 50_000_000_000)
    assert set(rows) == set(boxes())


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["generate", "--box", "quietbox3"], "UnknownBox: no box is called 'quietbox3'"),
        (["generate", "--model", "smollm"], "UnknownModel: no model 'smollm'; the nearest is"),
        (["generate", "--model", "./nothing"], "CheckpointNotFound: ./nothing"),
    ],
)
def test_wrong_names_say_what_would_be_right(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert text in failed(capsys, *argv)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["frob"], "invalid choice: 'frob'"),
        (["generate", "--max-tokens", "0"], "'0' is not a number of tokens, 1 or more"),
        (["generate", "--temperature", "-1"], "temperature (=-1.0) must be from 0 to 100"),
        (["generate", "--top-p", "0"], "top_p (=0.0) must be over 0"),
        (["generate", "--transport", "pigeon"], "invalid choice: 'pigeon'"),
        (["pull"], "the following arguments are required: model"),
    ],
)
def test_misuse_shows_usage_and_the_bound(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    err = misused(capsys, *argv)
    assert text in err
    assert err.startswith("usage: meshtwin")


def test_a_prompt_longer_than_the_context_names_the_room_left(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = failed(capsys, "generate", "the " * 70, "--model", str(tiny_model))
    assert "> the context of 64" in line


def test_an_empty_prompt_is_refused_before_any_chip_starts(
    tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "the prompt is empty" in failed(capsys, "generate", "", "--model", str(tiny_model))


def test_a_truncated_checkpoint_names_the_file_and_both_sizes(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    line = failed(capsys, "generate", "x", "--model", str(tmp_path))
    assert "CorruptCheckpoint" in line
    assert "model.safetensors" in line


def test_an_unknown_architecture_names_the_supported_ones(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in tiny_model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"architectures": ["MambaModel"]}))
    line = failed(capsys, "generate", "x", "--model", str(tmp_path))
    assert "architecture MambaModel is not supported; supported: LlamaForCausalLM" in line


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--box", "nope", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_pull_of_a_folder_prints_it(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pull", str(tiny_model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tiny_model)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m meshtwin.deploy.cli boxes --json | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""


@pytest.mark.ray
def test_generate_as_json_tells_everything(
    tiny_model: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["generate", "the cat", "--model", str(tiny_model), "--box", "p300", "--json"]
    argv += ["--max-tokens", "5", "--dtype", "float32"]
    assert main(argv) == 0
    first = json.loads(capsys.readouterr().out)
    assert main([*argv, "--transport", "zeromq"]) == 0
    second = json.loads(capsys.readouterr().out)
    assert first["num_new_tokens"] == len(first["token_ids"]) <= 5
    assert len({chip["pid"] for chip in first["chips"]}) == first["num_chips"] == 2
    assert first["sim_ttft_s"] > 0
    assert all(link["bytes"] > 0 for link in first["links"])
    same = ("token_ids", "text", "sim_ttft_s", "sim_decode_tokens_per_s_per_user", "links")
    assert [first[key] for key in same] == [second[key] for key in same]


@pytest.mark.ray
def test_generate_streams_text_and_then_a_table(
    tiny_model: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["generate", "the", "--model", str(tiny_model), "--box", "p150", "--max-tokens", "3"]
    assert main([*argv, "--dtype", "float32", "--chat", "--temperature", "1"]) == 0
    out, err = capsys.readouterr()
    assert "sim TTFT" in out
    assert "DRAM of chip 0" in out
    assert "opening p150: 1 chip" in err


@pytest.mark.ray
def test_several_prompts_are_one_batch_and_each_gets_its_own_text(
    tiny_model: Path, ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", str(tiny_model), "--box", "p150", "--max-tokens", "3"]
    options += ["--dtype", "float32"]
    prompts, own = ["the cat", "the", "cat the cat"], ("token_ids", "text", "num_prompt_tokens")
    assert main(["generate", *prompts, *options, "--json"]) == 0
    users = json.loads(capsys.readouterr().out)["users"]
    for prompt, user in zip(prompts, users, strict=True):
        assert main(["generate", prompt, *options, "--json"]) == 0
        alone = json.loads(capsys.readouterr().out)
        assert [user[key] for key in own] == [alone[key] for key in own]
    assert main(["generate", *prompts, *options]) == 0
    out = capsys.readouterr().out
    assert all(f"> {prompt}\n" in out for prompt in prompts)
    assert "3 users" in out and "tokens/s/user" in out
