"""What a comparison found: a row for each output of each op on each chip, and where it breaks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..chip.dtype import DType
from ..chip.figures import Bound, Figures

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class InputRow:
    """An input of an op: its figures, None where it came from outside the program's ops.

    `note` says what else is known, such as that a weight is not the reference's.
    """

    figures: Figures | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class OpRow:
    """One output of one op on one chip, beside the reference.

    Attributes:
        ordinal: of the op on its chip, from 0; collectives count too.
        line: of the source, `file.py:12`, where the program called the op.
        scope: the labels of `chip.scope` around it, outermost first.
        output: which of the op's outputs; an op without any is judged by the input it wrote to.
        figures: None where the reference has no counterpart; `note` says why.
        judged: whether a bound applies; a best guess is shown, but not judged.
        holds: which part of the reference's tensor it is, such as "0..383"; "" for the whole.
        fault: what is wrong with the op whatever its figures say, such as a part of a weight that
            no chip holds; "" for nothing.
        own: what the op itself loses: its output beside float32 arithmetic on its real inputs.
            Only against float32, and not for collectives and ops that write in place.
    """

    ordinal: int
    op: str
    chip: int
    line: str
    scope: str
    is_collective: bool
    output: int
    dtype: str
    shape: tuple[int, ...]
    figures: Figures | None
    inputs: tuple[InputRow, ...] = ()
    judged: bool = True
    holds: str = ""
    note: str = ""
    fault: str = ""
    own: Figures | None = None

    def within(self, bound: Bound) -> bool:
        """Is it in bounds, as far as that is known?"""
        if self.fault:
            return False
        if self.figures is None:
            return True
        return self.figures.within(bound, DType.parse(self.dtype).is_float)

    @property
    def where(self) -> str:
        """The op in words: `#131 linear (layer 7) at mlp.py:38`."""
        scope = f" ({self.scope})" if self.scope else ""
        return f"#{self.ordinal} {self.op}{scope} at {self.line}"


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The first place where a program and its reference do not run the same ops."""

    ordinal: int
    chip: int
    found: str
    expected: str

    def __str__(self) -> str:
        return (
            f"chip {self.chip} runs other ops than the reference from #{self.ordinal} on: "
            f"{self.found}, and the reference {self.expected}"
        )


@dataclass(frozen=True, slots=True)
class Finding:
    """The first op out of bounds.

    Attributes:
        row: of the chip where it is worst.
        chips: all chips where this op is out of bounds, the worst first.
        collective: the first collective from here on, which carries it to the other chips; "" if
            none follows.
        began: where the chip's parts first match no part of the reference, if that is earlier.
        mismatch: set instead of all others where the ops themselves differ first.
    """

    bound: Bound
    row: OpRow | None = None
    chips: tuple[int, ...] = ()
    collective: str = ""
    began: str = ""
    mismatch: Mismatch | None = None

    @property
    def inputs_were_fine(self) -> bool:
        """Was every input that an op made in bounds? Then this op, or a weight, is to blame."""
        row = self.row
        return row is not None and all(
            seen.figures is None or seen.figures.within(self.bound) for seen in row.inputs
        )

    def __str__(self) -> str:
        if self.mismatch is not None:
            return str(self.mismatch)
        assert self.row is not None
        row, figures = self.row, self.row.figures
        others = f" (and on chips {_list(self.chips[1:])})" if self.chips[1:] else ""
        lines = [f"chip {row.chip}{others}: {row.where} is the first out of bounds ({self.bound})"]
        lines.append(f"output {row.output}, {row.dtype}{list(row.shape)}: {describe(figures)}")
        lines[-1] += f"; {row.note}" if row.note else ""
        lines += [row.fault] if row.fault else []
        for number, seen in enumerate(row.inputs):
            what = "from outside" if seen.figures is None else describe(seen.figures)
            lines.append(f"input {number}: {what}" + (f"; {seen.note}" if seen.note else ""))
        lines.append(self._verdict(row))
        if row.own is not None:
            lines.append(f"by itself, on its real inputs, the op has {describe(row.own)}")
        lines += [f"first part that is none of the reference's: {self.began}"] if self.began else []
        lines += [f"goes on to the other chips by {self.collective}"] if self.collective else []
        return "\n  ".join(lines)

    def _verdict(self, row: OpRow) -> str:
        """Who is to blame: this op, or what came before it."""
        if not self.inputs_were_fine:
            return "an input was out of bounds already"
        if row.own is not None and row.own.within(self.bound):
            return "the op itself is right: the drift of its inputs grew out of bounds here"
        return "inputs were fine, the output is wrong"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rows in program order, by ordinal, output and chip.

    Attributes:
        against: the reference, in words.
        mismatches: of chips whose ops are not the reference's; nothing is compared after them.
    """

    box: str
    num_chips: int
    against: str
    rows: tuple[OpRow, ...]
    mismatches: tuple[Mismatch, ...] = ()

    def first_break(self, bound: Bound | None = None) -> Finding | None:
        """The first op, by ordinal, that is out of bounds on some chip; None when none is."""
        bound = bound or Bound()
        first = min(self.mismatches, key=lambda m: (m.ordinal, m.chip), default=None)
        broken = [row for row in self.rows if row.judged and not row.within(bound)]
        if not broken or (first is not None and first.ordinal <= broken[0].ordinal):
            return None if first is None else Finding(bound, mismatch=first)
        here = [row for row in broken if row.ordinal == broken[0].ordinal]
        here.sort(key=lambda row: (badness(row), row.chip))
        row, own = here[0], [other for other in self.rows if other.chip == here[0].chip]
        following = (o for o in own if o.is_collective and o.ordinal >= row.ordinal)
        carrier = next(following, None)
        return Finding(
            bound,
            row,
            tuple(dict.fromkeys(other.chip for other in here)),
            "" if carrier is None else carrier.where,
            _began(own, row, bound),
        )

    def worst_by_op(self) -> list[OpRow]:
        """For each op and output, the row of the chip where it is worst."""
        worst: dict[tuple[int, int], OpRow] = {}
        for row in self.rows:
            key = row.ordinal, row.output
            if key not in worst or badness(row) < badness(worst[key]):
                worst[key] = row
        return [worst[key] for key in sorted(worst)]

    def lossiest(self) -> OpRow | None:
        """The op and chip that loses most by itself, by relative RMS; None where that is unknown.

        Among ops that lose alike, the first.
        """
        known = [row for row in self.rows if row.own is not None]
        return max(known, key=lambda row: _loss(row.own), default=None)

    def worst_by_scope(self) -> list[OpRow]:
        """For each stretch of ops in one scope, the row that is worst."""
        worst: list[OpRow] = []
        for row in self.worst_by_op():
            if not worst or worst[-1].scope != row.scope:
                worst.append(row)
            elif badness(row) < badness(worst[-1]):
                worst[-1] = row
        return worst

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what is not finite is None."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def print(
        self, console: Console | None = None, bound: Bound | None = None, rows: str = "ops"
    ) -> None:
        """Print the table.

        Args:
            rows: "ops": one for each op, its worst chip; "chips": one for each op and chip;
                "scopes": one for each stretch of ops in one scope (a layer), its worst op.
        """
        from .comparison_table import print_table  # rich is not needed on the chips

        print_table(self, console, bound or Bound(), rows)


def describe(figures: Figures | None) -> str:
    """Figures in a line."""
    if figures is None:
        return "not compared"
    pcc = "no PCC" if figures.pcc is None else f"PCC {figures.pcc:.6f}"
    ulps = "" if figures.max_ulps is None else f", {figures.max_ulps} ULPs"
    worst = f"max abs error {figures.max_abs:.3g}{ulps}"
    return f"{pcc}, {worst}, relative RMS {figures.relative_rms:.2e}"


def badness(row: OpRow) -> tuple[int, float, float]:
    """Sorts rows of one op: the worst first, those that are not judged last."""
    figures = row.figures
    if row.fault:
        return -1, 0.0, 0.0
    if figures is None:
        return 2, 0.0, 0.0
    return int(not row.judged), 2.0 if figures.pcc is None else figures.pcc, -figures.relative_rms


def plain_finding(finding: Finding) -> dict[str, Any]:
    """A finding as plain values for JSON."""
    plain: dict[str, Any] = _plain(asdict(finding))
    return plain | {"inputs_were_fine": finding.inputs_were_fine, "text": str(finding)}


def numbered(rows: Iterable[OpRow]) -> tuple[OpRow, ...]:
    """Rows of all chips in program order."""
    return tuple(sorted(rows, key=lambda row: (row.ordinal, row.output, row.chip)))


def _loss(figures: Figures | None) -> float:
    return 0.0 if figures is None else figures.relative_rms


def _began(own: list[OpRow], row: OpRow, bound: Bound) -> str:
    """The first part of the chip, since its last whole value, that matches none of the reference's.

    Only looked for where an input of the broken op is out of bounds itself.
    """
    if Finding(bound, row).inputs_were_fine:
        return ""
    before = [other for other in own if other.ordinal < row.ordinal]
    whole = max((other.ordinal for other in before if other.judged), default=-1)
    parts = (other for other in before if other.ordinal > whole and not other.within(bound))
    first = next(parts, None)
    return "" if first is None else first.where


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _list(chips: tuple[int, ...]) -> str:
    return ", ".join(map(str, chips))
