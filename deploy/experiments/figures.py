"""Pictures of results as data: what is drawn, not how (see png.py and svg.py)."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one colour.

    Attributes:
        band: low and high of y at each x, where the results have them.
        hints: a text for each point.
        fronts: positions of the points that each line joins; () joins all, in their order.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    hints: tuple[str, ...]
    band: tuple[tuple[float, float], ...] = ()
    fronts: tuple[tuple[int, ...], ...] = ()

    @property
    def lines(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the points that each line joins."""
        return self.fronts or (tuple(range(len(self.x))),)


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over one axis, or a scatter with its Pareto fronts (`kind`)."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    kind: Literal["lines", "front"] = "lines"
    log_x: bool = False
    log_y: bool = False
    note: str = ""

    @property
    def x_ticks(self) -> tuple[float, ...]:
        """On a logarithmic axis: the values themselves, or some of them with the last."""
        values = sorted({x for series in self.series for x in series.x}, reverse=True)
        step = -(-len(values) // MOST_TICKS)
        return tuple(reversed(values[::step]))


@dataclass(frozen=True, slots=True)
class Bars:
    """Stacked horizontal bars: parts[name][bar], each bar's parts add up to 1."""

    name: str
    title: str
    x_label: str
    labels: tuple[str, ...]
    parts: dict[str, tuple[float, ...]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """A number for pairs (source, destination); pairs that are not there stay empty."""

    name: str
    title: str
    x_label: str
    y_label: str
    unit: str
    size: int
    cells: dict[tuple[int, int], float] = field(default_factory=dict)
    note: str = ""


Figure: TypeAlias = Chart | Bars | HeatMap
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7f3c8d", "#555555")
"""Told apart by colour-blind people too (after Okabe and Ito)."""
HOT = ("#fde9a9", "#b00c20")
"""From the least to the most."""
MOST_TICKS = 10
"""Of an axis that marks its own values."""


def number_text(value: float) -> str:
    """A number on an axis: 0.25, 1,024, 16.78M."""
    for unit, size in (("G", 1e9), ("M", 1e6)):
        if abs(value) >= size:
            return f"{value / size:,.4g}{unit}"
    return f"{value:,.6g}"
