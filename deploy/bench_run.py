"""Measuring a collective on a mesh: one program a size, with the loops inside the chips."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from ..chip.dtype import DType
from ..chip.tensor import Layout, Tensor
from ..collectives.bench import (
    COLLECTIVES,
    Inputs,
    Row,
    default_iterations,
    shape_of,
    whole_count,
)
from ..collectives.group import group_of
from ..fabric.topology import Box
from ..mesh.device import MeshDevice
from ..mesh.program import MeshChip


@dataclass(frozen=True, slots=True)
class Trial:
    """What is measured.

    Attributes:
        axis: None for the whole mesh, or the mesh axis whose groups all call at once.
        root: position in the group.
        options: further keyword arguments of the call, such as op and algorithm.
        iterations: calls in a timed loop; None: by size, see `default_iterations`.
        warmup: calls before the first loop.
        repeats: how many timed loops.
    """

    collective: str
    dtype: DType = DType.FLOAT32
    axis: int | None = None
    root: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    iterations: int | None = None
    warmup: int = 5
    repeats: int = 3
    check: bool = True

    @property
    def redop(self) -> str | None:
        """The reduction, where there is one."""
        reduces = COLLECTIVES[self.collective].operation.reduces
        return self.options.get("op", "sum") if reduces else None


@dataclass(frozen=True, slots=True)
class Taken:
    """What one chip measured: mean wall seconds of a call by repetition, simulated time of one."""

    wall_s: tuple[float, ...]
    sim_ps: int
    num_wrong: int


def group_size(box: Box, axis: int | None) -> int:
    """How many chips take part in a call over the mesh (None) or over an axis."""
    return box.num_chips if axis is None else box.shape[axis]


def measure(mesh: MeshDevice, trial: Trial, sizes: Sequence[int]) -> Iterator[Row]:
    """Rows as they are measured, for sizes in bytes (see `collectives.bench` for their meaning).

    Sizes that come to the same number of elements are measured once.
    """
    num_ranks = group_size(mesh.box, trial.axis)
    for count in dict.fromkeys(whole_count(size, num_ranks, trial.dtype) for size in sizes):
        size = trial.dtype.num_bytes(shape_of(count, trial.dtype))
        iterations = trial.iterations or default_iterations(size, mesh.num_chips)
        told = replace(trial, iterations=iterations)
        yield _row(told, size, count, num_ranks, mesh.run(on_chip, told, count))


def on_chip(chip: MeshChip, trial: Trial, count: int) -> Taken:
    """The program of one size: warm up, time the loops, then one call on the simulated clock."""
    collective = COLLECTIVES[trial.collective]
    ranks = group_of(chip.box, chip.rank, trial.axis).ranks
    position, num_ranks = ranks.index(chip.rank), len(ranks)
    wire = trial.options.get("wire_dtype")
    inputs = Inputs(num_ranks, trial.dtype, trial.redop, DType.parse(wire) if wire else None)
    put_in = count // num_ranks if collective.puts_in_part else count
    values = inputs.of(position, 0, put_in).reshape(shape_of(put_in, trial.dtype))
    layout = Layout.TILE if trial.dtype.block else Layout.ROW_MAJOR
    x = chip.tensor(values, trial.dtype, layout, "bench", False)
    arguments: dict[str, object] = {"axis": trial.axis, **trial.options}
    if collective.has_dim:
        arguments["dim"] = 0
    if collective.operation.has_root:
        arguments["root"] = ranks[trial.root]
    call = partial(getattr(chip, trial.collective), x, **arguments)
    assert trial.iterations is not None
    result: Tensor | None = None
    for _ in range(trial.warmup):
        result = call()
    wall_s = []
    for _ in range(trial.repeats):
        chip.barrier()
        start = time.perf_counter()
        for _ in range(trial.iterations):
            result = call()
        wall_s.append((time.perf_counter() - start) / trial.iterations)
    del result  # the next one may take its place
    chip.barrier()
    sim_start_ps = chip.clock.now_ps
    result = call()
    sim_ps = chip.clock.now_ps - sim_start_ps
    expected = collective.expected(inputs, position, trial.root, count) if trial.check else None
    return Taken(tuple(wall_s), sim_ps, num_different(result, expected))


def num_different(result: Tensor | None, expected: np.ndarray | None) -> int:
    """Elements that are not equal; NaN is equal to nothing. Nothing expected, nothing wrong."""
    if expected is None:
        return 0
    if result is None or result.shape != shape_of(expected.size, result.dtype):
        return expected.size
    return int(np.count_nonzero(result.to_numpy().reshape(-1) != expected))


def _row(trial: Trial, size: int, count: int, num_ranks: int, taken: Sequence[Taken]) -> Row:
    """One row: the slowest chip of every repetition, all chips' wrong elements."""
    slowest_s = [max(times) for times in zip(*(chip.wall_s for chip in taken), strict=True)]
    collective = COLLECTIVES[trial.collective]
    assert trial.iterations is not None
    return Row(
        collective=trial.collective,
        num_ranks=num_ranks,
        size=size,
        count=count // num_ranks if collective.has_dim else count,
        dtype=trial.dtype.label,
        redop=trial.redop or "none",
        root=trial.root if collective.operation.has_root else -1,
        iterations=trial.iterations,
        wall_us=statistics.median(slowest_s) * 1e6,
        wall_min_us=min(slowest_s) * 1e6,
        sim_us=max(chip.sim_ps for chip in taken) / 1e6,
        num_wrong=sum(chip.num_wrong for chip in taken) if trial.check else None,
    )
