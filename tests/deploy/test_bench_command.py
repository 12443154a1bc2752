"""`meshtwin bench`: misuse says what would be right; rows carry both clocks, and are right."""

import csv
import io
import json

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.collectives.bench import COLLECTIVES, REDUCTIONS
from meshtwin.collectives.reduce_op import REDUCIBLE
from meshtwin.deploy.bench_run import Trial, measure, num_different
from meshtwin.deploy.bench_table import CSV_COLUMNS, csv_line, values
from meshtwin.deploy.cli import main
from meshtwin.mesh.device import MeshDevice

QUICK = ["--iters", "2", "--warmup", "1", "--repeats", "2", "--min", "256", "--max", "1K"]


def test_help_says_what_size_means_and_gives_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for word in ("meshtwin bench all_reduce", "busbw", "nccl-tests", *COLLECTIVES):
        assert word in text


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["all_redcue"], "unknown collective 'all_redcue': did you mean 'all_reduce'?"),
        (
            ["all_reduce", "--box", "quietbox3"],
            "no box is called 'quietbox3'. Did you mean 'quietbox",
        ),
        (["all_reduce", "--dtype", "float33"], "unknown dtype 'float33': did you mean 'float32'?"),
        (["all_reduce", "--dtype", "bfp2_b"], "dtype bfp2_b: measured are float32, bfloat16,"),
        (["all_reduce", "--wire-dtype", "bfp8_a"], "bfp4_b); the nearest is bfp8_b"),
        (["all_gather", "--dtype", "i32", "--wire-dtype", "bf16"], "leave wire_dtype out"),
        (["all_reduce", "--op", "summ"], "unknown op 'summ': did you mean 'sum'?"),
        (["all_reduce", "--axis", "depth"], "mesh axis 'depth' does not exist; legal: 0, 1"),
        (["all_reduce", "--min", "4Q"], "'4Q' is not a size: give bytes, 1 or more, or a number"),
        (["all_reduce", "--min", "0"], "'0' is not a size"),
        (["all_reduce", "--min", "2K", "--max", "1K"], "the nearest is --max 2048"),
        (["all_reduce", "--factor", "1"], "'1' is not a whole number, 2 or more"),
        (["all_reduce", "--iters", "no"], "'no' is not a whole number, 1 or more"),
        (["all_reduce", "--root", "1"], "all_reduce has no root: leave --root out"),
        (["all_gather", "--op", "sum"], "all_gather reduces nothing: leave --op out"),
        (["all_reduce", "--algorithm", "rung"], "no such algorithm: did you mean 'ring'?"),
        (["all_reduce", "--op", "mean", "--dtype", "int32"], "a mean needs a float format"),
        (["broadcast", "--root", "4"], "--root 4 is not in a group of 4 chips; the nearest is 3"),
        (["all_reduce", "--json", "--csv"], "--csv and --json do not go together"),
    ],
)
def test_misuse_names_what_would_be_right(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", *argv])
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert text in err
    assert err.startswith("usage: meshtwin bench")


def test_every_difference_counts_nan_a_wrong_shape_and_nothing_at_all() -> None:
    chip = Chip.open("p150b")
    expected = np.arange(4, dtype=np.float32)
    assert num_different(chip.tensor(expected), expected) == 0
    assert num_different(chip.tensor(expected), None) == 0
    assert num_different(chip.tensor(np.array([0, 9, np.nan, 3], np.float32)), expected) == 2
    assert num_different(chip.tensor(expected[:2]), expected) == 4
    assert num_different(None, expected) == 4


@pytest.mark.ray
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("dtype", [DType.FLOAT32, DType.BFLOAT16, DType.UINT32])
@pytest.mark.parametrize("name", COLLECTIVES)
def test_each_collective_is_measured_and_right(
    name: str, dtype: DType, axis: int | None, quietbox2_mesh: MeshDevice
) -> None:
    trial = Trial(
        name, dtype, axis, root=1 if COLLECTIVES[name].operation.has_root else 0, repeats=1
    )
    (row,) = measure(quietbox2_mesh, trial, [1, 4])
    assert row.num_ranks == (4 if axis is None else 2)
    assert row.size == row.num_ranks * dtype.itemsize  # one element a chip
    assert row.num_wrong == 0
    assert 0 < row.wall_min_us <= row.wall_us
    assert row.sim_us > 0


@pytest.mark.ray
@pytest.mark.parametrize("op", REDUCTIONS)
@pytest.mark.parametrize("dtype", REDUCIBLE)
def test_every_reduction_is_exact_in_every_dtype(
    op: str, dtype: DType, quietbox2_mesh: MeshDevice
) -> None:
    if op == "mean" and not dtype.is_float:
        pytest.skip("a mean needs a float format")
    trial = Trial("all_reduce", dtype, options={"op": op}, warmup=0, repeats=1, iterations=1)
    (row,) = measure(quietbox2_mesh, trial, [2048])
    assert (row.redop, row.num_wrong) == (op, 0)


@pytest.mark.ray
@pytest.mark.parametrize("op", [None, *REDUCTIONS])
@pytest.mark.parametrize(("dtype", "wire"), [("bfp8_b", None), ("bf16", "bfp8_b")])
def test_block_floats_are_measured_and_right(
    op: str | None, dtype: str, wire: str | None, quietbox2_mesh: MeshDevice
) -> None:
    options = {} if wire is None else {"wire_dtype": wire}
    name = "all_gather" if op is None else "all_reduce"
    options |= {} if op is None else {"op": op}
    trial = Trial(name, DType.parse(dtype), options=options, warmup=0, repeats=1, iterations=1)
    (row,) = measure(quietbox2_mesh, trial, [4 * 64 * 17])
    assert row.num_wrong == 0
    if wire is None:
        assert (row.size, row.count) == (64 * 4 * 17, 64 * 16 * (1 if op is None else 4))


@pytest.mark.ray
def test_algorithm_and_wire_dtype_reach_the_chips(quietbox2_mesh: MeshDevice) -> None:
    def sim_us(**options: str) -> float:
        trial = Trial("all_reduce", options=options, warmup=0, repeats=1, iterations=1)
        (row,) = measure(quietbox2_mesh, trial, [1 << 18])
        assert row.num_wrong == 0
        return row.sim_us

    ring = sim_us(algorithm="ring")
    assert sim_us(algorithm="direct") != ring
    assert sim_us(algorithm="ring", wire_dtype="bfloat16") < ring


@pytest.mark.ray
def test_simulated_time_is_the_same_each_time_and_the_count_is_that_of_nccl_tests(
    quietbox2_mesh: MeshDevice,
) -> None:
    trial = Trial("all_gather", iterations=1, warmup=0, repeats=1, check=False)
    first, second = (list(measure(quietbox2_mesh, trial, [4096, 65536])) for _ in range(2))
    assert [row.sim_us for row in first] == [row.sim_us for row in second]
    assert [(row.size, row.count, row.redop, row.root) for row in first] == [
        (4096, 256, "none", -1),
        (65536, 4096, "none", -1),
    ]
    assert first[0].num_wrong is None
    assert csv_line(first[0]).split(",")[CSV_COLUMNS.index("num_wrong")] == ""
    assert tuple(values(first[0])) == CSV_COLUMNS


@pytest.mark.ray
def test_the_table_has_a_row_a_size_under_two_headings(
    ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "all_reduce", "--box", "p300", *QUICK]) == 0
    out, err = capsys.readouterr()
    title, headings, columns, _, *rows = out.splitlines()
    assert title == "all_reduce on p300, 2 chips"
    assert "wall (this machine)" in headings
    assert "simulated (p300)" in headings
    assert columns.replace("|", "").split() == [
        *("size", "count", "type", "redop", "root"),
        *("time", "min", "algbw", "busbw", "#wrong"),
        *("sim_time", "sim_algbw", "sim_busbw"),
    ]
    assert [row.split()[:5] for row in rows] == [
        ["256", "64", "float32", "sum", "-1"],
        ["1024", "256", "float32", "sum", "-1"],
    ]
    assert err == ""  # progress is for terminals


@pytest.mark.ray
def test_csv_names_both_clocks_and_json_has_the_environment(
    ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["bench", "broadcast", "--root", "1", "--box", "p300", *QUICK]
    assert main([*argv, "--csv", "--no-check"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert main([*argv, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [int(row["size_bytes"]) for row in table] == [256, 1024]
    assert [float(row["sim_us"]) for row in table] == [row["sim_us"] for row in answer["rows"]]
    assert all(float(row["wall_us"]) > 0 and row["num_wrong"] == "" for row in table)
    assert all(row["num_wrong"] == 0 and row["root"] == 1 for row in answer["rows"])
    environment = answer["environment"]
    assert (environment["box"], environment["num_ranks"]) == ("p300", 2)
    assert set(environment["versions"]) == {"meshtwin", "numpy", "ray"}
    assert environment["cores"] >= 1


@pytest.mark.ray
def test_axis_groups_are_measured_at_once(
    ray_session: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "reduce_scatter", "--axis", "row", *QUICK]) == 0
    out = capsys.readouterr().out
    assert out.startswith("reduce_scatter on quietbox2, 2 groups of 2 chips at once")
