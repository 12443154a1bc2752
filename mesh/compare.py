"""Finding a wrong number: a program beside a reference, op by op, on every chip.

`compare` gives figures for every op and chip, `bisect` the first op out of bounds. See
docs/comparing.md for what each kind of reference can and cannot find.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..chip.errors import InvalidArgument
from ..chip.figures import Bound
from ..chip.spec import load_product
from ..chip.watcher import Watcher
from ..collectives.communicator import Communicator
from ..fabric.topology import load_box
from .comparison import Comparison, Finding, Mismatch, OpRow, numbered
from .coverage import Holding, fault
from .device import MeshDevice, MeshTensor
from .errors import PlacementError
from .paired import PairedWatcher
from .parts import slices
from .placement import Local
from .program import MeshChip
from .session_folder import temporary_folder
from .shadow import ROOM, ShadowWatcher
from .tape import Entry, TapeReader, TapeWriter
from .tree import map_leaves
from .unsharded import UnshardedWatcher, matrix

Program = Callable[..., Any]
ONE_CHIP_BOX = "p150"


class Reference:
    """A reference that runs on the same mesh: another program, or the same with other arguments."""

    def __init__(self, program: Program, *args: Any) -> None:
        self.program, self.args = program, args


class OneChip:
    """A reference that runs on one chip, in the driver's process: the same model, not cut.

    A MeshTensor among `args` becomes its whole global array, on that chip.
    """

    def __init__(self, program: Program, *args: Any) -> None:
        self.program, self.args = program, args


def compare(
    mesh: MeshDevice,
    program: Program,
    *args: Any,
    reference: Reference | OneChip | Program | None = None,
) -> Comparison:
    """Run `program(chip, *args)` as `mesh.run` does, and compare each op with a reference.

    The mesh must be free of planned faults. The reference takes no simulated time and is not
    recorded; the program does and is, as without it.

    Args:
        reference: None: every op and collective again in float32, from float32 shadows of its
            inputs. `Reference(program, *args)`, or a program, which gets the same `args`: run
            first on the same chips; ops are paired by order. `OneChip(program, *args)`: run on one
            chip; whole values are compared, and each chip's share of a matrix product.
    Returns:
        Figures for every output of every op on every chip.
    Raises:
        what the program or the reference raises, as `mesh.run` does.
        PlacementError: OneChip, and a tensor is no global array, or a chip is on another host.
    """
    if reference is None:
        runs = mesh.run(beside_shadows, program, args)
        return comparison_of(mesh.box.name, "its own ops in float32", runs)
    if isinstance(reference, OneChip):
        with temporary_folder() as folder:
            tape = _record_alone(mesh, reference, folder / "tape")
            runs = mesh.run(beside_tape, tape, program, args)
            return comparison_of(mesh.box.name, "the same on one chip", runs, tape)
    if isinstance(reference, Reference):
        runs = mesh.run(beside_run, reference.program, reference.args, program, args)
    elif callable(reference):
        runs = mesh.run(beside_run, reference, args, program, args)
    else:
        raise InvalidArgument(
            f"reference (={reference!r}) must be None, a program, Reference(program, *args) or "
            "OneChip(program, *args)"
        )
    return comparison_of(mesh.box.name, "another run on the same chips", runs)


def bisect(
    mesh: MeshDevice,
    program: Program,
    *args: Any,
    reference: Reference | OneChip | Program | None = None,
    pcc: float | None = 0.99,
    max_ulps: int | None = None,
    relative_rms: float | None = 0.3,
) -> Finding | None:
    """The first op, chip and collective where a program leaves its reference; None if it does not.

    Args:
        reference: as for `compare`.
        pcc: the least correlation that is still right; None asks for none.
        max_ulps: the largest error that is still right, in steps of the output's format.
        relative_rms: the largest RMS of the error over that of the right numbers; None: any.
    Raises:
        InvalidArgument: a bound is out of its range, or there is none.
    Example: `print(bisect(mesh, program, x, w))`.
    """
    bound = Bound(pcc, max_ulps, relative_rms)
    return compare(mesh, program, *args, reference=reference).first_break(bound)


@dataclass(frozen=True, slots=True)
class Tape:
    """A reference run in a file of this host."""

    path: str
    entries: list[Entry]


@dataclass(frozen=True, slots=True)
class ChipRun:
    """What a chip found."""

    rows: list[OpRow]
    mismatch: Mismatch | None
    holdings: list[Holding]


def comparison_of(
    box: str, against: str, runs: list[ChipRun], tape: Tape | None = None
) -> Comparison:
    """What the chips found, by rank, put together."""
    rows = numbered(row for run in runs for row in run.rows)
    if tape is not None:
        faults = _faults([run.holdings for run in runs], tape)
        rows = tuple(
            replace(row, fault=faults.get((row.ordinal, row.chip), row.fault)) for row in rows
        )
    mismatches = tuple(run.mismatch for run in runs if run.mismatch is not None)
    return Comparison(box, len(runs), against, rows, mismatches)


def _faults(by_chip: list[list[Holding]], tape: Tape) -> dict[tuple[int, int], str]:
    """What is wrong with the parts of a weight, by ordinal and chip."""
    reader = TapeReader.open(tape.path, tape.entries)
    by_ordinal: dict[int, list[Holding]] = {}
    for holdings in by_chip:
        for holding in holdings:
            by_ordinal.setdefault(holding.ordinal, []).append(holding)
    faults = {}
    for ordinal, holdings in by_ordinal.items():
        if len(holdings) == len(by_chip):
            entry = tape.entries[holdings[0].entry]
            whole = matrix(entry.op, reader.read(entry.inputs[1]))
            found = fault(holdings, slices(whole, holdings[0].dim))
            if found is not None:
                faults[ordinal, found[0]] = found[1]
    return faults


def beside_shadows(chip: MeshChip, program: Program, args: tuple[Any, ...]) -> ChipRun:
    """On a chip: run a program beside its float32 shadows."""
    watcher = ShadowWatcher(chip)
    with _watched(chip, watcher):
        program(chip, *args)
    return ChipRun(watcher.rows, None, [])


def beside_run(
    chip: MeshChip,
    reference: Program,
    reference_args: tuple[Any, ...],
    program: Program,
    args: tuple[Any, ...],
) -> ChipRun:
    """On a chip: run a reference, then the program beside what that gave."""
    with tempfile.TemporaryFile(prefix="meshtwin-tape-") as file:
        writer = TapeWriter(chip, file)
        with _unnoticed(chip), _watched(chip, writer):
            reference(chip, *reference_args)
        watcher = PairedWatcher(chip, TapeReader(file, writer.entries))
        with _watched(chip, watcher):
            program(chip, *args)
        watcher.ended()
        return ChipRun(watcher.rows, watcher.mismatch, [])


def beside_tape(chip: MeshChip, tape: Tape, program: Program, args: tuple[Any, ...]) -> ChipRun:
    """On a chip: run a program beside what one chip gave."""
    try:
        reader = TapeReader.open(tape.path, tape.entries)
    except FileNotFoundError:
        raise PlacementError(
            f"chip {chip.rank} is on another host than the driver: OneChip needs all on one host"
        ) from None
    watcher = UnshardedWatcher(chip, reader)
    with _watched(chip, watcher):
        program(chip, *args)
    watcher.ended()
    return ChipRun(watcher.rows, watcher.mismatch, watcher.holdings)


def _record_alone(mesh: MeshDevice, reference: OneChip, path: Path) -> Tape:
    """Run the reference on one chip in this process and write its tape."""
    chip = lone_chip(mesh.box.product)

    def whole(leaf: Any) -> Any:
        if not isinstance(leaf, MeshTensor):
            return leaf
        if isinstance(leaf.placement, Local):
            raise PlacementError(f"{leaf!r} is no global array: OneChip needs one")
        return chip.tensor(mesh.to_numpy(leaf), leaf.dtype)

    args = map_leaves(whole, reference.args)
    return record_alone(chip, reference.program, args, path)


def record_alone(chip: MeshChip, program: Program, args: tuple[Any, ...], path: Path) -> Tape:
    """Run a program on a chip that is alone and write its tape."""
    with path.open("w+b") as file:
        writer = TapeWriter(chip, file, keep_products=True)
        with _watched(chip, writer):
            program(chip, *args)
    return Tape(str(path), writer.entries)


def lone_chip(product: str) -> MeshChip:
    """A chip of a box of one, with DRAM enough for what many chips hold together."""
    spec = load_product(product)
    chip = MeshChip(replace(spec, dram_bank_bytes=spec.dram_bank_bytes * ROOM))
    chip.box = load_box(ONE_CHIP_BOX)
    chip.communicator = Communicator(chip.box, 0, None, timeout_s=1.0)
    return chip


@contextmanager
def _watched(chip: MeshChip, watcher: Watcher) -> Iterator[None]:
    """Let the watcher look on."""
    chip.watcher = watcher
    try:
        yield
    finally:
        chip.watcher = None


@contextmanager
def _unnoticed(chip: MeshChip) -> Iterator[None]:
    """What runs here takes no simulated time and is not recorded."""
    sim_now_ps, was_enabled = chip.clock.now_ps, chip.recorder.enabled
    chip.recorder.enabled = False
    try:
        yield
    finally:
        chip.recorder.enabled = was_enabled
        chip.clock.now_ps = sim_now_ps
