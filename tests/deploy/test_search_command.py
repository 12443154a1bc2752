"""`meshtwin search` as a user calls it."""

import json

import pytest

from meshtwin.deploy.cli import main

pytest.importorskip("meshtwin.models.plan")
ARGV = [
    "search", "--objective", "tokens_per_s", "--model", "llama-3.2-1b", "--box", "p300",
    "--batch-max", "4", "--precision", "bfloat16",
]  # fmt: skip


def test_it_names_the_best_deployments_and_why_others_are_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*ARGV, "--json"]) == 0
    everything = json.loads(capsys.readouterr().out)
    rates = [row["sim_tokens_per_s"] for row in everything["best"]]
    assert rates == sorted(rates, reverse=True)
    assert everything["tried"] == everything["legal"] == 8
    speeds = sorted(row["sim_tokens_per_s_per_user"] for row in everything["best"])
    assert main([*ARGV, "--tokens-per-user-above", str(speeds[-2] + 1e-6), "--json"]) == 0
    limited = json.loads(capsys.readouterr().out)
    assert limited["legal"] == 1
    assert sum(reason["num_cases"] for reason in limited["out"]) == 7


def test_the_table_has_a_row_for_each_of_the_best(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ARGV, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("by tokens_per_s (simulated): 8 of 8 deployments are legal")
    assert len(lines) == 5


def test_nothing_legal_fails_and_a_wrong_model_names_the_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*ARGV, "--ttft-below", "0.0001"]) == 1
    assert "sim_ttft_ms not below 0.0001 ms; nearest: " in capsys.readouterr().out
    argv = [*ARGV]
    argv[argv.index("llama-3.2-1b")] = "llama-3.2-1bb"
    assert main(argv) == 1
    assert "llama-3.2-1b" in capsys.readouterr().err


def test_the_nearest_that_does_not_fit_is_the_one_that_misses_the_fewest_bytes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    argv = ["search", "--objective", "tokens_per_s", "--model", "llama-3.1-70b", "--box", "p150"]
    assert main([*argv, "--batch-max", "2"]) == 1
    assert "4 out: does not fit in DRAM; nearest: tp 1 dp 1 batch 1 performance (needs " in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("text", ["-1", "0", "nan", "inf", "fast"])
@pytest.mark.parametrize("option", ["--ttft-below", "--tokens-per-user-above"])
def test_a_limit_that_nothing_can_keep_is_refused(
    option: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*ARGV, option, text])
    assert f"argument {option}: {text!r} is not a number above 0" in capsys.readouterr().err
