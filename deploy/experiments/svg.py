"""Pictures as SVG text, for a page that needs nothing else."""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from .figures import COLOURS, HOT, Bars, Chart, Figure, HeatMap, number_text

WIDTH, HEIGHT = 1040, 470
LEFT, TOP, RIGHT, BOTTOM = 84, 62, 340, 58
"""Pixels around the area of a chart; the legend stands at the right."""
LETTER = 6.6
"""Pixels of a letter of 12 pixels' height, about."""
MOST_LETTERS = 45
MOST_POWERS = 6


class Scale(NamedTuple):
    """From values to pixels, with the values that are marked."""

    at: Callable[[float], float]
    ticks: Sequence[float]


def drawn(figure: Figure) -> str:
    """The picture of a figure."""
    if isinstance(figure, Chart):
        body, height = list(_chart(figure)), HEIGHT
    elif isinstance(figure, Bars):
        height = TOP + 30 * len(figure.labels) + BOTTOM
        body = list(_bars(figure, height))
    else:
        side = min((HEIGHT - TOP) / figure.size, 48.0)
        height = round(TOP + max(side * figure.size, 180) + BOTTOM)
        body = list(_heat(figure, side))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(figure.title)}">'
        f'<text class="title" x="16" y="26">{escape(figure.title)}</text>'
        f'<text class="note" x="16" y="45">{escape(figure.note)}</text>'
    )
    return "\n".join([head, *body, "</svg>"])


def _chart(chart: Chart) -> Iterator[str]:
    xs = [x for series in chart.series for x in series.x]
    bounds = [y for series in chart.series for pair in series.band for y in pair]
    ys = [y for series in chart.series for y in series.y] + bounds
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    x = _scale(xs, LEFT + 12, right - 12, chart.log_x, chart.kind == "front")
    if chart.log_x and chart.kind == "lines":
        x = Scale(x.at, _apart(chart.x_ticks, x.at))
    y = _scale(ys if chart.log_y else [0.0, *ys], bottom, TOP + 8, chart.log_y, True)
    for value in y.ticks:
        yield _line("grid", LEFT, y.at(value), right, y.at(value))
        yield _text("tick end", LEFT - 8, y.at(value) + 4, number_text(value))
    for value in x.ticks:
        yield _line("grid", x.at(value), TOP, x.at(value), bottom)
        yield _text("tick middle", x.at(value), bottom + 18, number_text(value))
    yield _text("label middle", (LEFT + right) / 2, HEIGHT - 14, chart.x_label)
    yield (
        f'<text class="label middle" transform="translate(20 {(TOP + bottom) / 2:.0f}) '
        f'rotate(-90)">{escape(chart.y_label)}</text>'
    )
    for index, (series, colour) in enumerate(zip(chart.series, COLOURS, strict=False)):
        spots = [(x.at(a), y.at(b)) for a, b in zip(series.x, series.y, strict=True)]
        yield f'<g class="series s{index}" fill="{colour}" stroke="{colour}">'
        if series.band:
            upper = [(x.at(a), y.at(b[1])) for a, b in zip(series.x, series.band, strict=True)]
            lower = [(x.at(a), y.at(b[0])) for a, b in zip(series.x, series.band, strict=True)]
            yield f'<polygon class="band" points="{_points([*upper, *reversed(lower)])}"/>'
        for line in series.lines:
            yield f'<polyline class="line" points="{_points([spots[i] for i in line])}"/>'
        joined = {i for line in series.lines for i in line}
        for i, (a, b) in enumerate(spots):
            kind = "" if i in joined else ' class="beaten"'
            hint = f"{series.hints[i]}\n{chart.x_label}: {number_text(series.x[i])}"
            yield (
                f'<circle{kind} cx="{a:.1f}" cy="{b:.1f}" r="4"><title>{escape(hint)}\n'
                f"{escape(chart.y_label)}: {number_text(series.y[i])}</title></circle>"
            )
        yield "</g>"
    if any(series.label for series in chart.series):
        yield from _legend([series.label for series in chart.series], right + 20)


def _bars(bars: Bars, height: int) -> Iterator[str]:
    room = min(360.0, 24 + LETTER * max(len(label) for label in bars.labels))
    right, bottom = WIDTH - 150, height - BOTTOM
    wide = right - room
    for percent in range(0, 101, 20):
        at = room + wide * percent / 100
        yield _line("grid", at, TOP, at, bottom)
        yield _text("tick middle", at, bottom + 18, str(percent))
    yield _text("label middle", room + wide / 2, height - 14, bars.x_label)
    starts = [room] * len(bars.labels)
    for row, label in enumerate(bars.labels):
        shown = _short(label, int((room - 16) / LETTER))
        yield _text("tick end", room - 8, TOP + 30 * row + 19, shown)
    for index, (part, shares) in enumerate(bars.parts.items()):
        yield f'<g class="series s{index}" fill="{COLOURS[index % len(COLOURS)]}">'
        for row, share in enumerate(shares):
            top, length = TOP + 30 * row + 4, share * wide
            hint = f"{bars.labels[row]}\n{part}: {100 * share:.1f} %"
            yield (
                f'<rect x="{starts[row]:.1f}" y="{top}" width="{length:.1f}" height="22">'
                f"<title>{escape(hint)}</title></rect>"
            )
            if length > 28:
                middle = starts[row] + length / 2
                yield _text("inside middle", middle, top + 15, f"{100 * share:.0f}")
            starts[row] += length
        yield "</g>"
    yield from _legend(list(bars.parts), right + 20)


def _heat(heat: HeatMap, side: float) -> Iterator[str]:
    most = max(heat.cells.values())
    step = 1 if side >= 20 else 4
    edge = side * heat.size
    yield f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{edge:.1f}" height="{edge:.1f}"/>'
    for (src, dst), value in heat.cells.items():
        hint = f"{src} to {dst}: {number_text(value)} {heat.unit}"
        yield (
            f'<rect x="{LEFT + side * dst:.1f}" y="{TOP + side * src:.1f}" width="{side:.1f}" '
            f'height="{side:.1f}" fill="{hot(value / most if most else 0.0)}">'
            f"<title>{escape(hint)}</title></rect>"
        )
    for chip in range(0, heat.size, step):
        middle = side * (chip + 0.5)
        yield _text("tick middle", LEFT + middle, TOP + edge + 18, str(chip))
        yield _text("tick end", LEFT - 8, TOP + middle + 4, str(chip))
    yield _text("label middle", LEFT + edge / 2, TOP + edge + 42, heat.x_label)
    yield (
        f'<text class="label middle" transform="translate(34 {TOP + edge / 2:.0f}) rotate(-90)">'
        f"{escape(heat.y_label)}</text>"
    )
    at = LEFT + edge + 40
    for i in range(20):
        yield (
            f'<rect x="{at:.0f}" y="{TOP + 8 * (19 - i)}" width="18" height="8" '
            f'fill="{hot(i / 19)}"/>'
        )
    yield _text("tick", at + 26, TOP + 10, f"{number_text(most)} {heat.unit}")
    yield _text("tick", at + 26, TOP + 160, "0")


def hot(share: float) -> str:
    """A colour for 0 to 1."""
    ends = [[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in HOT]
    mixed = (round(a + (b - a) * share) for a, b in zip(*ends, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _legend(labels: Sequence[str], at: float) -> Iterator[str]:
    for index, label in enumerate(labels):
        y, colour = TOP + 8 + 22 * index, COLOURS[index % len(COLOURS)]
        yield (
            f'<g class="key" data-series="s{index}"><title>{escape(label)}</title>'
            f'<rect x="{at:.0f}" y="{y}" width="12" height="12" rx="2" fill="{colour}"/>'
            f"{_text('tick', at + 18, y + 10, _short(label, MOST_LETTERS))}</g>"
        )


def _scale(values: Sequence[float], start: float, stop: float, log: bool, round_: bool) -> Scale:
    """A scale over the values; `round_` widens it to whole ticks."""
    low, high = min(values), max(values)
    ticks = _log_ticks(low, high) if log else _ticks(low, high)
    if round_:
        low, high = min(low, ticks[0]), max(high, ticks[-1])
    turn: Callable[[float], float] = math.log if log else float
    span = (turn(high) - turn(low)) or 1.0

    def at(value: float) -> float:
        return start + (stop - start) * (turn(value) - turn(low)) / span

    return Scale(at, [tick for tick in ticks if low <= tick <= high])


def _ticks(low: float, high: float) -> list[float]:
    """Four to eight round values around [low, high]."""
    rough = (high - low) / 5 or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 2.5, 5, 10) if power * times >= rough * 0.999)
    first, last = math.floor(low / step), math.ceil(high / step - 1e-9)
    return [step * number for number in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten around [low, high]; powers alone where they are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= MOST_POWERS else (1,)
    all_ = [times * 10.0**power for power in powers for times in steps]
    below = [tick for tick in all_ if tick <= low][-1:]
    above = [tick for tick in all_ if tick >= high][:1]
    return [*below, *(tick for tick in all_ if low < tick < high), *above]


def _apart(ticks: Sequence[float], at: Callable[[float], float]) -> list[float]:
    """The ticks whose labels do not touch, the last one among them."""
    kept: list[float] = []
    for tick in reversed(ticks):
        if not kept or at(kept[-1]) - at(tick) > LETTER * (len(number_text(tick)) + 2):
            kept.append(tick)
    return kept[::-1]


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 3]}..."


def _points(spots: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
