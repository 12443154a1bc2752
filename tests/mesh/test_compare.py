"""A program beside a reference on a real mesh: its figures, and the first op out of bounds."""

import json
from typing import Any

import numpy as np
import pytest

from meshtwin import MeshDevice, OneChip, PerChip, Reference, bisect, compare
from meshtwin.chip.compute_config import EXACT
from meshtwin.chip.errors import InvalidArgument, ShapeError
from meshtwin.chip.figures import Bound
from meshtwin.mesh.comparison import plain_finding
from meshtwin.mesh.errors import PlacementError
from meshtwin.mesh.program import MeshChip

pytestmark = pytest.mark.ray

RNG = np.random.default_rng(0)
X = RNG.standard_normal((16, 64), dtype=np.float32)
GATE = RNG.standard_normal((128, 64), dtype=np.float32) / 8
DOWN = RNG.standard_normal((64, 128), dtype=np.float32) / 11


def mlp(chip: MeshChip, x: Any, gate: Any, down: Any, compute: Any = None) -> Any:
    with chip.scope("mlp"):
        hidden = chip.silu(chip.linear(x, gate, compute=compute))
        hidden = chip.reshape(hidden, (1, *hidden.shape))  # a view: its shadow goes with it
        return chip.all_reduce(chip.linear(hidden, down, compute=compute))


def on(mesh: MeshDevice, dtype: str = "bfloat16", down: Any = DOWN) -> tuple[Any, Any, Any]:
    """x whole, gate by rows, down by columns."""
    return (
        mesh.replicate(X, dtype=dtype),
        mesh.shard(GATE, 0, dtype=dtype),
        mesh.shard(down, 1, dtype=dtype),
    )


def wrong_on_chip_2() -> np.ndarray:
    """`down` with the columns of chip 1 where chip 2's belong."""
    wrong = DOWN.copy()
    wrong[:, 64:96] = DOWN[:, 32:64]
    return wrong


def test_rows_say_what_ran_where_on_every_chip(mesh: MeshDevice) -> None:
    comparison = compare(mesh, mlp, *on(mesh))
    names = [(row.ordinal, row.op, row.chip) for row in comparison.rows]
    ops = ["linear", "silu", "linear", "all_reduce"]
    assert names == [(n, op, chip) for n, op in enumerate(ops) for chip in range(4)]
    first = comparison.rows[0]
    assert first.line.startswith("test_compare.py:") and first.scope == "mlp"
    assert (first.dtype, first.shape) == ("bfloat16", (16, 32))
    assert [row.is_collective for row in comparison.rows[-4:]] == [True] * 4


def test_float32_shadows_show_what_bfloat16_loses_and_float32_does_not(mesh: MeshDevice) -> None:
    lossy = compare(mesh, mlp, *on(mesh))
    assert all(
        row.figures is not None and 1e-3 < row.figures.relative_rms < 2e-2 for row in lossy.rows
    )
    assert lossy.first_break() is None
    finding = lossy.first_break(Bound(pcc=0.999999))
    assert finding is not None and finding.row is not None
    assert (finding.row.op, finding.row.ordinal) == ("linear", 0)
    assert "#3 all_reduce (mlp) at test_compare.py" in finding.collective
    exact = compare(mesh, mlp, *on(mesh, "float32"), EXACT)
    assert all(row.figures is not None and row.figures.relative_rms < 1e-6 for row in exact.rows)
    cut = compare(mesh, mlp, *on(mesh, "float32"))  # the multiplier takes 19 bits of a float32
    assert all(row.figures is not None and row.figures.relative_rms > 1e-6 for row in cut.rows)


def test_shadows_follow_views_and_what_is_written_in_place(mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any) -> None:
        cache = chip.empty((1, 1, 32, 64))
        half = chip.mul(x, x)
        chip.update_cache(cache, chip.reshape(half, (1, 1, 16, 64)), 4)
        chip.add(chip.slice(cache, (0, 0, 4, 0), (1, 1, 20, 64)), half)

    x = mesh.replicate(X, dtype="bfloat16")
    rows = [row for row in compare(mesh, program, x).rows if row.chip == 0]
    assert [row.op for row in rows] == ["mul", "update_cache", "slice", "add"]
    losses = [row.figures.relative_rms for row in rows if row.figures is not None]
    assert losses[0] == pytest.approx(losses[2]) and losses[1] == pytest.approx(losses[0])
    assert [seen.figures is None for seen in rows[3].inputs] == [False, False]


def test_what_an_op_loses_by_itself_is_told_apart_from_what_came_with_its_inputs(
    mesh: MeshDevice,
) -> None:
    def repeated(chip: MeshChip, x: Any, scale: Any) -> None:
        for _ in range(20):
            x = chip.mul(x, scale)
        chip.concat([x, x], 0)

    x, scale = (mesh.replicate(a, dtype="bfloat16") for a in (X, 1 + np.abs(X) / 8))
    comparison = compare(mesh, repeated, x, scale)
    rows = [row for row in comparison.rows if row.chip == 0]
    own = [row.own.relative_rms for row in rows if row.own is not None]
    drift = [row.figures.relative_rms for row in rows if row.figures is not None]
    assert own[0] == drift[0]  # its inputs are from outside
    assert all(3e-4 < loss < 4e-3 for loss in own[:20]) and own[20] == 0.0
    assert drift[20] == pytest.approx(drift[19]) and drift[19] > max(own)
    lossiest = comparison.lossiest()
    assert lossiest is not None and lossiest.op == "mul"
    finding = comparison.first_break(Bound(relative_rms=drift[10]))
    assert finding is not None and "by itself, on its real inputs, the op has" in str(finding)
    assert "the drift of its inputs grew out of bounds here" in str(finding)


def test_every_collective_has_a_shadow(mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any) -> None:
        y = chip.mul(x, x)
        for axis in (None, 0, 1):
            chip.all_reduce(y, axis)
            chip.all_reduce(y, axis, op="max", wire_dtype="bfloat16")
            chip.all_gather(y, 0, axis)
            chip.reduce_scatter(y, 0, axis)
            chip.all_to_all(y, 0, axis)
        chip.broadcast(y, 3)
        chip.reduce(y, 1)
        chip.gather(y, 0, 1)
        chip.scatter(y, 0, 1)
        chip.barrier()
        chip.all_reduce(chip.tensor(np.arange(4, dtype=np.int32)))
        chip.send(y, (chip.rank + 1) % 4)
        chip.mul(chip.recv((chip.rank + 3) % 4), y)

    comparison = compare(mesh, program, mesh.shard(X, 0))
    assert comparison.first_break(Bound(pcc=0.9999)) is None  # but for what the wire rounds
    by_chip = [{row.op for row in comparison.rows if row.chip == chip} for chip in range(4)]
    assert {"reduce", "gather"} <= by_chip[1] and not {"reduce", "gather"} & by_chip[0]
    assert len({row.ordinal for row in comparison.rows}) == 1 + 15 + 4 + 1 + 1


def test_a_comparison_takes_the_simulated_time_and_records_of_the_program_alone(
    mesh: MeshDevice,
) -> None:
    def state() -> list[tuple[int, int, Any]]:
        return [(r.sim_now_ps, r.num_ops, r.link_bytes) for r in mesh.reports()]

    def spent(run: Any) -> Any:
        before = state()
        run()
        return [
            (b[0] - a[0], b[1] - a[1], {k: v - a[2].get(k, 0) for k, v in b[2].items()})
            for a, b in zip(before, state(), strict=True)
        ]

    args = on(mesh)
    mesh.run(mlp, *args)  # from here on all runs begin with the chips' clocks alike
    alone = spent(lambda: mesh.run(mlp, *args))
    for reference in (None, mlp, OneChip(mlp, *args)):
        assert spent(lambda: compare(mesh, mlp, *args, reference=reference)) == alone  # noqa: B023


def test_a_wrong_shard_is_named_against_good_weights_and_against_one_chip(
    mesh: MeshDevice,
) -> None:
    good, bad = on(mesh), on(mesh, down=wrong_on_chip_2())
    for reference in (Reference(mlp, *good), OneChip(mlp, *good)):
        assert bisect(mesh, mlp, *good, reference=reference) is None
        finding = bisect(mesh, mlp, *bad, reference=reference)
        assert finding is not None and finding.row is not None
        assert (finding.chips, finding.row.op, finding.row.ordinal) == ((2,), "linear", 2)
        assert finding.inputs_were_fine
        assert "inputs were fine, the output is wrong" in str(finding)
        assert "chip 2: #2 linear (mlp) at test_compare.py" in str(finding)
    assert "no chip holds columns 64..95" in str(finding)
    by_weights = bisect(mesh, mlp, *bad, reference=Reference(mlp, *good))
    assert "input 1: from outside; not the reference's" in str(by_weights)


def test_against_one_chip_a_matmul_is_cut_as_well_as_a_linear(mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any, w: Any) -> Any:
        return chip.all_reduce(chip.matmul(x, w))

    x, w = mesh.shard(X, 1), mesh.shard(DOWN[:, :8], 0)
    comparison = compare(mesh, program, x, w, reference=OneChip(program, x, w))
    assert comparison.first_break() is None
    assert [row.holds for row in comparison.rows[:4]] == ["0..15", "16..31", "32..47", "48..63"]


def test_another_program_is_compared_up_to_the_first_other_op(mesh: MeshDevice) -> None:
    def other(chip: MeshChip, x: Any, gate: Any, down: Any) -> Any:
        hidden = chip.mul(chip.linear(x, gate), chip.linear(x, gate))
        return chip.all_reduce(chip.linear(hidden, down))

    comparison = compare(mesh, mlp, *on(mesh), reference=other)
    assert {row.ordinal for row in comparison.rows} == {0}
    finding = comparison.first_break()
    assert finding is not None and finding.mismatch is not None
    assert finding.mismatch.ordinal == 1
    text = str(finding)
    assert "chip 0 runs other ops than the reference from #1 on: silu" in text
    assert "and the reference linear -> [16, 32] at test_compare.py" in text


@pytest.mark.parametrize(("more", "less"), [(2, 1), (1, 2)])
def test_a_program_that_ends_earlier_or_later_is_told(
    mesh: MeshDevice, more: int, less: int
) -> None:
    def program(chip: MeshChip, x: Any, times: int) -> None:
        for _ in range(times):
            chip.silu(x)

    x = mesh.replicate(X)
    finding = bisect(mesh, program, x, more, reference=Reference(program, x, less))
    assert finding is not None and "it ended" in str(finding)


def test_only_the_chips_that_are_wrong_are_named(mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any, factor: float) -> None:
        scale = chip.tensor(np.full(64, factor, np.float32))
        chip.all_reduce(chip.mul(x, scale))

    x = mesh.replicate(X)
    wrong = PerChip([1.0, 3.0, 1.0, 2.0])
    finding = bisect(mesh, program, x, wrong, reference=Reference(program, x, 1.0))
    assert finding is not None and finding.row is not None
    assert (finding.chips, finding.row.ordinal) == ((1, 3), 0)


def test_what_a_program_raises_arrives_and_nobody_watches_any_more(mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any) -> None:
        with chip.scope("outer"):
            chip.matmul(chip.silu(x), x)

    def is_free(chip: MeshChip) -> bool:
        return chip.watcher is None and not chip.labels

    x = mesh.replicate(X)
    for reference in (None, program, OneChip(program, x)):
        with pytest.raises(ShapeError):
            compare(mesh, program, x, reference=reference)
    assert mesh.run(is_free) == [True] * 4


def test_a_reference_that_cannot_be_is_refused(mesh: MeshDevice) -> None:
    with pytest.raises(InvalidArgument, match="must be None, a program"):
        compare(mesh, mlp, *on(mesh), reference="float32")  # type: ignore[arg-type]
    parts = mesh.run(lambda chip, x: x, mesh.shard(X, 0))
    with pytest.raises(PlacementError, match="OneChip needs one"):
        compare(mesh, mlp, parts, reference=OneChip(mlp, parts))


def test_a_reference_with_no_op_in_common_is_told(mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any) -> None:
        chip.silu(x)

    x = mesh.replicate(X)
    finding = bisect(mesh, program, x, reference=OneChip(lambda chip, x: chip.mul(x, x), x))
    assert finding is not None and "none of them the reference's" in str(finding)


def test_the_answer_is_plain_json_and_a_table(
    mesh: MeshDevice, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = on(mesh, down=wrong_on_chip_2() * np.inf)
    comparison = compare(mesh, mlp, *bad, reference=Reference(mlp, *on(mesh)))
    plain = json.loads(json.dumps(comparison.as_dict(), allow_nan=False))
    assert len(plain["rows"]) == 16 and plain["rows"][0]["figures"]["pcc"] == 1.0
    finding = comparison.first_break()
    assert finding is not None
    assert json.loads(json.dumps(plain_finding(finding), allow_nan=False))["chips"]
    for rows, count in (("ops", 4), ("chips", 16), ("scopes", 1)):
        comparison.print(rows=rows)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == count + 2, lines
        assert "out of bounds" in lines[-1]
    with pytest.raises(InvalidArgument, match="did you mean 'ops'"):
        comparison.print(rows="op")


@pytest.mark.box("p150")
def test_one_chip_is_compared_too(mesh: MeshDevice) -> None:
    args = on(mesh)
    for reference in (None, mlp, OneChip(mlp, *args)):
        comparison = compare(mesh, mlp, *args, reference=reference)
        assert comparison.first_break() is None
        assert len(comparison.rows) == 4
