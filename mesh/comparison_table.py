"""A comparison as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from rich.console import Console
from rich.table import Table

from ..chip.errors import InvalidArgument, did_you_mean, nearest_name
from ..chip.figures import Bound
from .comparison import Comparison, OpRow

ROWS: dict[str, tuple[str, Callable[[Comparison], Sequence[OpRow]]]] = {
    "ops": ("the worst chip of each op", Comparison.worst_by_op),
    "chips": ("each op on each chip", lambda comparison: comparison.rows),
    "scopes": ("the worst op of each scope", Comparison.worst_by_scope),
}
WIDTH = 120
"""What the table may take: on a narrow terminal, or a pipe, no number is cut short."""
COLUMNS = ("#", "op", "scope", "line", "chip", "PCC", "max abs", "ULPs", "rel RMS", "own RMS", "")
NUMBERS = ("#", "chip", "PCC", "max abs", "ULPs", "rel RMS", "own RMS")


def print_table(comparison: Comparison, console: Console | None, bound: Bound, rows: str) -> None:
    """Print the rows that `rows` names: see Comparison.print.

    Raises:
        InvalidArgument: there are no such rows.
    """
    if rows not in ROWS:
        hint = did_you_mean(nearest_name(rows, tuple(ROWS)))
        raise InvalidArgument(f"rows (={rows!r}){hint} Known: {', '.join(ROWS)}.")
    what, choose = ROWS[rows]
    console = console or Console(soft_wrap=True, highlight=False, width=WIDTH)
    console.print(
        f"{comparison.box}, {comparison.num_chips} chips, against {comparison.against}: {what}"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in COLUMNS:
        justify: Literal["right", "left"] = "right" if title in NUMBERS else "left"
        table.add_column(title, justify=justify, no_wrap=True)
    for row in choose(comparison):
        table.add_row(*_cells(row, bound))
    console.print(table)


def _cells(row: OpRow, bound: Bound) -> list[str]:
    name = row.op if not row.output else f"{row.op} [{row.output}]"
    place = [str(row.ordinal), name, row.scope, row.line, str(row.chip)]
    figures = row.figures
    if figures is None:
        return [*place, "-", "-", "-", "-", "-", row.note]
    verdict = row.note if row.within(bound) or not row.judged else "out of bounds"
    verdict = "a wrong part" if row.fault else verdict
    return [
        *place,
        "-" if figures.pcc is None else f"{figures.pcc:.6f}",
        f"{figures.max_abs:.2e}",
        "-" if figures.max_ulps is None else str(figures.max_ulps),
        f"{figures.relative_rms:.1e}",
        "-" if row.own is None else f"{row.own.relative_rms:.1e}",
        verdict,
    ]
