"""Pictures as PNG files, drawn by matplotlib (the extra `plots`)."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingExtra
from .figures import COLOURS, HOT, Bars, Chart, Figure, HeatMap, number_text

SIZE_INCHES, DPI = (9.6, 5.2), 110
GRID = "#e3e5e9"


def require_matplotlib() -> None:
    """Raise MissingExtra where there is no matplotlib."""
    if find_spec("matplotlib") is None:
        raise MissingExtra("drawing PNGs", "matplotlib", "plots")


def write_pngs(folder: Path, name: str, figures: Sequence[Figure]) -> list[Path]:
    """Draw each figure of the sweep `name` to FOLDER/FIGURE.png; returns their paths.

    Raises:
        MissingExtra: there is no matplotlib.
    """
    require_matplotlib()
    return [_write(folder / f"{figure.name}.png", name, figure) for figure in figures]


def _write(path: Path, name: str, figure: Figure) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    size = (SIZE_INCHES[1] * 1.25, SIZE_INCHES[1]) if isinstance(figure, HeatMap) else SIZE_INCHES
    canvas = Canvas(figsize=size, dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
    FigureCanvasAgg(canvas)
    axes = canvas.subplots()
    axes.set_axisbelow(True)
    if isinstance(figure, Chart):
        _chart(axes, figure)
    elif isinstance(figure, Bars):
        _bars(axes, figure)
    else:
        _heat(canvas, axes, figure)
    below = " | ".join(text for text in (name, figure.note) if text)
    axes.set_title(f"{figure.title}\n", fontsize=14, fontweight="bold", loc="left")
    axes.text(0, 1.02, below, transform=axes.transAxes, fontsize=9, color="#555c67", va="bottom")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    canvas.savefig(path)
    return path


def _chart(axes: Any, chart: Chart) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for series, colour in zip(chart.series, COLOURS, strict=False):
        for number, line in enumerate(series.lines):
            xs, ys = [series.x[i] for i in line], [series.y[i] for i in line]
            text = series.label if number == 0 and series.label else None
            axes.plot(xs, ys, color=colour, marker="o", markersize=5, label=text)
        if chart.kind == "front":
            axes.scatter(series.x, series.y, color=colour, s=14, alpha=0.35, linewidths=0)
        if series.band:
            low, high = zip(*series.band, strict=True)
            axes.fill_between(series.x, low, high, color=colour, alpha=0.06, linewidth=0)
            for edge in (low, high):
                axes.plot(series.x, edge, color=colour, alpha=0.6, linewidth=1, linestyle="--")
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    axes.grid(color=GRID)
    plain = FuncFormatter(lambda value, _: number_text(value))
    if chart.log_x:
        axes.set_xscale("log", base=2 if chart.kind == "lines" else 10)
        if chart.kind == "lines":
            axes.set_xticks(chart.x_ticks)
        else:
            axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(plain)
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(plain)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(plain)
    if any(series.label for series in chart.series):
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)


def _bars(axes: Any, bars: Bars) -> None:
    rows = range(len(bars.labels))
    left = [0.0] * len(bars.labels)
    for (part, shares), colour in zip(bars.parts.items(), COLOURS, strict=False):
        widths = [100 * share for share in shares]
        axes.barh(rows, widths, left=left, color=colour, label=part, height=0.68)
        for row, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width >= 6:
                middle = start + width / 2
                axes.text(middle, row, f"{width:.0f}", ha="center", va="center", color="white",
                          fontsize=8)  # fmt: skip
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(rows, bars.labels, fontsize=9)
    axes.set_ylim(len(bars.labels) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel(bars.x_label)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=9)


def _heat(canvas: Any, axes: Any, heat: HeatMap) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    grid = [
        [heat.cells.get((src, dst), float("nan")) for dst in range(heat.size)]
        for src in range(heat.size)
    ]
    axes.set_facecolor("#f4f5f7")
    image = axes.imshow(grid, cmap=LinearSegmentedColormap.from_list("hot", HOT), vmin=0)
    canvas.colorbar(image, ax=axes, label=heat.unit, shrink=0.8, format="{x:,.0f}")
    step = 1 if heat.size <= 16 else 4
    axes.set_xticks(range(0, heat.size, step))
    axes.set_yticks(range(0, heat.size, step))
    axes.set_xlabel(heat.x_label)
    axes.set_ylabel(heat.y_label)
