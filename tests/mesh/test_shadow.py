"""Shadows of ops that are not like the others, on one chip without Ray."""

from typing import Any

import numpy as np

from meshtwin.chip.compute_config import ComputeConfig, Fidelity
from meshtwin.chip.cost import Work
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import DTypeError
from meshtwin.chip.figures import Figures
from meshtwin.chip.state import Op, Plan
from meshtwin.chip.tensor import Array, TensorSpec
from meshtwin.mesh.compare import beside_shadows
from meshtwin.mesh.comparison import OpRow
from meshtwin.mesh.program import MeshChip

from ..spmd import run_spmd

X = np.random.default_rng(5).standard_normal((4, 64), dtype=np.float32)


def rows_of(program: Any) -> list[OpRow]:
    """What the shadows of a program on one chip show."""
    (run,) = run_spmd("p150", lambda chip: beside_shadows(chip, program, ()))
    rows: list[OpRow] = run.rows
    return rows


def figures_of(row: OpRow) -> Figures:
    assert row.figures is not None
    return row.figures


def picky(has_output: bool) -> Op:
    """An op that takes bfloat16 and nothing else: flips the sign, as a new tensor or in place."""

    def rule(x: TensorSpec) -> Plan:
        if x.dtype is not DType.BFLOAT16:
            raise DTypeError(f"{x.dtype} (expected bfloat16)")
        return Plan((x,) if has_output else (), Work("move", 0, x.nbytes, x.nbytes, 1, 1))

    def values(x: Array) -> Array | None:
        if has_output:
            return np.asarray(x ^ np.uint16(0x8000))
        x ^= np.uint16(0x8000)
        return None

    return Op("flip", rule, values)


def test_an_op_that_takes_no_float32_is_run_in_its_own_format() -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(X, "bfloat16")
        chip.add(chip.run(picky(True), (chip.mul(x, x),)), x)

    mul, flip, add = map(figures_of, rows_of(program))
    assert 0 < mul.relative_rms < 4e-3
    assert flip.max_abs == 0.0  # its shadow was rounded as the real one was
    assert 0 < add.relative_rms < 1e-2


def test_an_op_that_writes_in_place_is_followed_in_its_own_format_too() -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(X, "bfloat16")
        squares = chip.mul(x, x)
        chip.run_many(picky(False), (squares,))
        chip.add(squares, x)

    rows = rows_of(program)
    assert [row.op for row in rows] == ["mul", "flip", "add"]
    assert figures_of(rows[1]).max_abs == 0.0
    assert 0 < figures_of(rows[2]).relative_rms < 1e-2


def test_a_shadow_is_exact_whatever_the_fidelity_of_the_real_product() -> None:
    def program(chip: MeshChip) -> None:
        x, w = chip.tensor(X, "bfloat16"), chip.tensor(X[:, ::-1].copy(), "bfloat16")
        for fidelity in ("LoFi", "HiFi2", "HiFi4"):
            chip.linear(x, w, compute=ComputeConfig(Fidelity.parse(fidelity)))

    low, middle, high = (row.own for row in rows_of(program))
    assert low is not None and middle is not None and high is not None
    assert low.relative_rms > 2 * middle.relative_rms > 2 * high.relative_rms > 0


def test_integers_follow_the_real_run() -> None:
    """Two sums are alike in bfloat16 and not in float32: the real choice is gone on with."""

    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.array([[1.0, 1 + 2**-7, 0.5]] * 32, np.float32), "bfloat16")
        threes = chip.tensor(np.full((32, 3), 3.0, np.float32), "bfloat16")
        chip.typecast(chip.argmax(chip.add(x, threes)), "float32")

    add, argmax, typecast = map(figures_of, rows_of(program))
    assert add.max_abs == 2**-7
    assert (argmax.pcc, argmax.max_ulps, argmax.num_different) == (None, 1, 32)
    assert typecast.max_abs == 0.0


def test_a_tensor_that_dies_leaves_no_shadow_behind() -> None:
    def program(chip: MeshChip) -> tuple[int, int]:
        x = chip.tensor(X)
        kept = chip.add(x, x)
        for _ in range(20):
            chip.mul(kept, x)
        watcher: Any = chip.watcher
        return len(watcher.shadows), len(watcher.judged)

    def watched(chip: MeshChip) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        beside_shadows(chip, lambda chip: found.append(program(chip)), ())
        return found

    assert run_spmd("p150", watched) == [[(1, 1)]]
