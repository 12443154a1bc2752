"""A family of measurements: where its rows are, which say enough, how they are predicted."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...collectives import calibrate as collectives
from . import collective, decode, dram, llm, matmul, prefill, small_ops
from .case import Case, Residual, residuals
from .fit import fit, leave_one_out
from .place import SHIPPED, Free, Values
from .table import Line


@dataclass(frozen=True, slots=True)
class Family:
    """Measurements of one kind.

    Attributes:
        target: the median absolute error that the shipped constants must keep to; the signed mean
            keeps to half of it.
        tables: what its constants are fitted to, in words.
        excluded: why a row cannot be predicted, or "".
        free: the constants that its fit finds.
        note: what its figures do not say by themselves.
        optional: columns that a table may have and the shipped ones have not.
    """

    name: str
    target: float
    tables: str
    lines: Callable[[], list[Line]]
    excluded: Callable[[Line], str]
    case: Callable[[Line], Case]
    free: tuple[Free, ...] = ()
    note: str = ""
    optional: tuple[str, ...] = ()

    def cases(self, lines: Iterable[Line] | None = None) -> list[Case]:
        """The rows that can be predicted, of the shipped tables or of another.

        Raises:
            BadRow: a row that is not excluded cannot be read.
        """
        found = self.lines() if lines is None else lines
        return [self.case(line) for line in found if not self.excluded(line)]

    def columns(self) -> set[str]:
        """The columns that a table of these rows may have."""
        return {*self.optional, *(name for line in self.lines() for name in line.fields)}

    def left_out(self, lines: Iterable[Line] | None = None) -> dict[str, list[Line]]:
        """The rows that are not predicted, by the reason: of the shipped tables or of another."""
        found: dict[str, list[Line]] = {}
        for line in self.lines() if lines is None else lines:
            if why := self.excluded(line):
                found.setdefault(why, []).append(line)
        return found

    def fit(self, cases: Sequence[Case], given: Values = SHIPPED) -> Values:
        """The free constants fitted to cases; see `fit.fit`."""
        return fit(cases, self.free, given)

    def leave_one_out(self, cases: Sequence[Case], given: Values = SHIPPED) -> list[Residual]:
        """Each group predicted by constants fitted without it; see `fit.leave_one_out`."""
        return leave_one_out(cases, self.free, given)


class Collectives(Family):
    """Those that have a simulator, and a search, of their own (collectives/calibrate.py)."""

    __slots__ = ()

    def leave_one_out(self, cases: Sequence[Case], given: Values = SHIPPED) -> list[Residual]:
        """Each family of collectives predicted by constants fitted without it.

        Only of the shipped rows: the search needs them as they are.
        """
        rows = [collective.row(line) for line in self.lines()]
        found = []
        for left_out in dict.fromkeys(row.family for row in rows):
            costs = collectives.fit(row for row in rows if row.family != left_out)
            mine = [line for line in self.lines() if collective.row(line).family == left_out]
            found += residuals(collective.case(line, costs) for line in mine)
        return found


def _always(_: Line) -> str:
    return ""


FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        Family(
            "matmul", 0.06, "matmul_p150.csv and matmul_n150.csv",
            matmul.lines, _always, matmul.case, matmul.FREE,
        ),
        Family(
            "dram", 0.05, "ops.csv and noc_measured.csv",
            dram.lines, dram.excluded, dram.case, dram.FREE, dram.NOTE,
        ),
        Family(
            "small-ops", 0.15, "ops.csv",
            small_ops.lines, small_ops.excluded, small_ops.case, small_ops.FREE,
        ),
        Collectives(
            "collectives", 0.08, "collectives.csv", collective.lines, _always, collective.case
        ),
        Family(
            "decode", 0.08, "the decode rows of llm_perf.csv",
            llm.lines, decode.excluded, decode.case, decode.FREE, optional=llm.OPTIONAL,
        ),
        Family(
            "ttft", 0.15, "the TTFT rows of llm_perf.csv",
            llm.lines, prefill.excluded, prefill.case, prefill.FREE, prefill.NOTE, llm.OPTIONAL,
        ),
    )
}  # fmt: skip
"""By name, in the order of their fits: a later one takes what the earlier ones found."""
