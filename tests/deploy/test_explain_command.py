"""`meshtwin explain` as a user calls it."""

import json
from pathlib import Path

import pytest

from meshtwin.collectives.algorithm import unregister
from meshtwin.deploy.cli import main


def answer(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert main(["explain", *argv, "--json"]) == 0
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_it_says_what_auto_takes_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "all_reduce", "--box", "galaxy", "--bytes", "1M"]) == 0
    out = capsys.readouterr().out
    assert "all_reduce(shape (524288,), bfloat16, op sum) on 32 chips of galaxy" in out
    for name in ("ring", "line", "grid", "halving", "tree", "direct"):
        assert name in out
    assert "auto takes " in out
    assert "…" not in out  # a pipe has no width: nothing is cut short
    assert "times as quick as" in out


def test_the_quickest_comes_first_and_times_are_simulated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer(capsys, "all_gather", "--box", "quietbox2", "--bytes", "64K")
    rows = found["algorithms"]
    assert isinstance(rows, list)
    times = [row["sim_ps"] for row in rows]
    assert times == sorted(times)
    assert str(found["reason"]).startswith(rows[0]["algorithm"])


def test_small_and_large_messages_take_different_algorithms(
    capsys: pytest.CaptureFixture[str],
) -> None:
    small = answer(capsys, "all_reduce", "--box", "galaxy", "--bytes", "512")
    large = answer(capsys, "all_reduce", "--box", "galaxy", "--bytes", "16M")
    assert "latency-bound" in str(small["reason"])
    assert str(small["reason"]).split(":")[0] != str(large["reason"]).split(":")[0]


def test_an_algorithm_that_cannot_do_it_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "all_reduce", "--box", "p300"]) == 0
    assert "grid cannot: chips 0, 1 of p300: they fill no rectangle" in capsys.readouterr().out


def test_rounds_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "all_reduce", "--draw", "ring"]) == 0
    out = capsys.readouterr().out
    assert "round  0: 0->1 +c3" in out
    assert "round  3: 0->1 c0" in out


def test_a_file_of_ones_own_algorithms_is_loaded_and_verified(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.py"
    path.write_text("""
from meshtwin.collectives.algorithm import Layout, algorithm
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.schedule import Step, StepKind

@algorithm("chain of mine", Layout.LINE, Operation.BROADCAST)
def chain(operation, team, root):
    right = [[Step(p, p + 1, 0, StepKind.COPY)] for p in range(root, team.num_ranks - 1)]
    return right + [[Step(p, p - 1, 0, StepKind.COPY)] for p in range(root, 0, -1)]
""")
    try:
        found = answer(capsys, "broadcast", "--load", str(path), "--root", "1")
    finally:
        unregister("chain of mine")
    rows = found["algorithms"]
    assert isinstance(rows, list)
    assert "chain of mine" in {row["algorithm"] for row in rows}


def test_misuse_names_what_is_legal(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, text in (
        (["explain", "allreduce"], "did you mean 'all_reduce'"),
        (["explain", "broadcast", "--root", "4"], "the nearest is 3"),
        (["explain", "broadcast", "--draw", "grid"], "known: "),
    ):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2
        assert text in capsys.readouterr().err


@pytest.mark.parametrize(("wire", "tile_bytes"), [("bfp8_b", 1088), ("bfp4_b", 576)])
def test_a_wire_dtype_costs_the_bytes_of_its_tiles(
    wire: str, tile_bytes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = answer(capsys, "all_gather")
    packed = answer(capsys, "all_gather", "--wire-dtype", wire)
    assert f"wire {wire}, rounding hop" in str(packed["call"])
    carried = [
        {row["algorithm"]: row["busiest_link_bytes"] for row in found["algorithms"]}  # type: ignore[attr-defined]
        for found in (plain, packed)
    ]
    assert carried[1]["ring"] * 2048 == carried[0]["ring"] * tile_bytes


def test_block_floats_are_explained_as_tensors_and_wrong_wires_are_misuse(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = answer(capsys, "reduce_scatter", "--dtype", "bfp8_b", "--bytes", "17K")
    assert "shape (1024, 16), bfp8_b" in str(found["call"])
    with pytest.raises(SystemExit) as stop:
        main(["explain", "all_reduce", "--wire-dtype", "tf32"])
    assert stop.value.code == 2
    assert "the nearest is float32" in capsys.readouterr().err
