"""Which pictures a sweep's rows give, and what is in them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .figures import COLOURS, Bars, Chart, Figure, HeatMap, Series
from .plain import canonical
from .run import Row
from .telling import apart, distinct, label, telling

LABELS: Mapping[str, str] = {
    "chips": "chips",
    "num_bytes": "bytes",
    "prompt": "prompt (tokens)",
    "sim_ttft_ms": "time to first token (ms)",
    "sim_tokens_per_s": "tokens/s of all users",
    "sim_tokens_per_s_per_user": "tokens/s of each user",
}
UNITS = {
    "_GB_per_s": "GB/s", "_per_s": "per s", "_ms": "ms", "_us": "us", "_ps": "ps", "_s": "s",
    "_bytes": "bytes",
}  # fmt: skip
"""Of names by their endings."""
TIMES = ("_ms", "_us", "_ps", "_s")
"""Endings of names of which less is better."""
STANDARD = (("chips", "sim_tokens_per_s"), ("prompt", "sim_ttft_ms"))
COLOURED_BY = ("model", "box", "precision", "chips", "tp")
WORKLOAD = ("prompt", "output")
"""What users ask for: deployments compare where it is the same."""
MOST_SERIES = len(COLOURS)
MOST_BARS = 14
LOG_FROM = {"x": 8.0, "y": 20.0}
"""Largest over smallest value from which an axis is logarithmic."""
BEST = "sim_tokens_per_s"
"""What rows are chosen by where there are too many."""


def figures(
    rows: Sequence[Row], names: Sequence[str], charts: Sequence[tuple[str, str]] = ()
) -> list[Figure]:
    """The pictures of some rows.

    Args:
        names: of the points' values; those that vary tell series apart.
        charts: (x, y) besides the standard ones.
    """
    good = [row for row in rows if not row.get("error")]
    varying = [n for n in names if len({canonical(row.get(n)) for row in good}) > 1]
    found: list[Figure | None] = [
        _lines(good, varying, x, y) for x, y in dict.fromkeys((*STANDARD, *charts))
    ]
    once = distinct(good, names)
    found += [_pareto(once, varying), _breakdown(once, varying), _links(good, varying)]
    return [figure for figure in found if figure is not None]


def _lines(rows: Sequence[Row], varying: Sequence[str], x: str, y: str) -> Chart | None:
    shown = [row for row in rows if _is_number(row.get(x)) and _is_number(row.get(y))]
    if len({row[x] for row in shown}) < 2:
        return None
    names = telling(shown, [name for name in varying if name != x], x, [y])
    groups: dict[str, list[Row]] = {}
    for row in sorted(shown, key=lambda row: float(row[x])):
        groups.setdefault(label(row, names), []).append(row)
    is_time = y.endswith(TIMES) and not y.endswith("_per_s")
    best = sorted(groups, key=lambda key: max(row[y] for row in groups[key]))
    best = best if is_time else best[::-1]
    kept = [key for key in groups if key in best[:MOST_SERIES]]
    labels, shared = apart([groups[key][0] for key in kept], names)
    series = tuple(
        _series(text, groups[key], x, y, varying) for key, text in zip(kept, labels, strict=True)
    )
    chosen = f"{len(kept)} of {len(groups)} series: the {'lowest' if is_time else 'highest'}"
    note = _note(chosen if len(kept) < len(groups) else "", shared)
    title = f"{_title(y)} against {label_of(x).partition(' (')[0]}"
    return Chart(
        f"{y}-{x}", title, label_of(x), label_of(y), series,
        log_x=_is_wide(series, "x"), log_y=_is_wide(series, "y"), note=note,
    )  # fmt: skip


def _series(text: str, rows: Sequence[Row], x: str, y: str, varying: Sequence[str]) -> Series:
    at: dict[float, Row] = {float(row[x]): row for row in rows}
    has_band = all(_is_number(row.get(f"{y}_{end}")) for row in rows for end in ("low", "high"))
    return Series(
        text,
        tuple(at),
        tuple(float(row[y]) for row in at.values()),
        tuple(label(row, varying) for row in at.values()),
        tuple((row[f"{y}_low"], row[f"{y}_high"]) for row in at.values()) if has_band else (),
    )


def _pareto(rows: Sequence[Row], varying: Sequence[str]) -> Chart | None:
    x, y = "sim_tokens_per_s_per_user", "sim_tokens_per_s"
    shown = [row for row in rows if _is_number(row.get(x)) and _is_number(row.get(y))]
    if len({(row[x], row[y]) for row in shown}) < 2:
        return None
    colours = [
        name for name in COLOURED_BY
        if 2 <= len({canonical(row.get(name)) for row in shown}) <= MOST_SERIES
    ]  # fmt: skip
    groups: dict[str, list[Row]] = {}
    workload = [name for name in WORKLOAD if name in varying]
    names = {*telling(shown, varying, "", [x, y]), *colours[:1], *workload}
    for row in {label(row, sorted(names)): row for row in shown}.values():
        groups.setdefault(label(row, colours[:1]), []).append(row)
    series = []
    for key, group in groups.items():
        group.sort(key=lambda row: (row[x], row[y]))
        spots = [(float(row[x]), float(row[y])) for row in group]
        hints = tuple(label(row, varying) for row in group)
        xs, ys = zip(*spots, strict=True)
        series.append(Series(key, xs, ys, hints, fronts=_fronts(group, spots, workload)))
    return Chart(
        "pareto", "Simulated throughput against speed of each user", label_of(x), label_of(y),
        tuple(series), "front", _is_wide(series, "x", "y"), _is_wide(series, "y"),
        note="lines join the points that no other of their colour"
        + (f" and {' and '.join(workload)}" if workload else "")
        + " beats in both",
    )  # fmt: skip


def _fronts(
    rows: Sequence[Row], spots: Sequence[tuple[float, float]], workload: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """The front of each workload: those of different ones do not compare."""
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(label(row, workload), []).append(i)
    return tuple(
        tuple(group[i] for i in front([spots[j] for j in group])) for group in groups.values()
    )


def front(spots: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Positions of the spots that none beats in both x and y, by rising x."""
    kept: list[int] = []
    highest = float("-inf")
    for i in sorted(range(len(spots)), key=lambda i: spots[i], reverse=True):
        if spots[i][1] > highest:
            highest = spots[i][1]
            kept.append(i)
    return tuple(reversed(kept))


def _breakdown(rows: Sequence[Row], varying: Sequence[str]) -> Bars | None:
    shown = [row for row in rows if _is_number(row.get("share_compute"))]
    if not shown:
        return None
    parts = list(dict.fromkeys(n for row in shown for n in row if n.startswith("share_")))
    names = telling(shown, varying, "", [*parts, BEST])
    bars = {label(row, names): row for row in shown}
    best = sorted(bars, key=lambda key: bars[key].get(BEST) or 0, reverse=True)[:MOST_BARS]
    kept = [row for key, row in bars.items() if key in best]
    labels, shared = apart(kept, names)
    chosen = f"{len(kept)} of {len(bars)}: the most tokens/s" if len(kept) < len(bars) else ""
    return Bars(
        "breakdown", "Where the simulated time of a decode step goes", "share of the time (%)",
        tuple(text or "all points" for text in labels),
        {
            part.removeprefix("share_"): tuple(float(row.get(part) or 0) for row in kept)
            for part in parts
        },
        _note(chosen, shared),
    )  # fmt: skip


def _links(rows: Sequence[Row], varying: Sequence[str]) -> HeatMap | None:
    shown = [row for row in rows if isinstance(row.get("link_bytes"), dict) and row["link_bytes"]]
    if not shown:
        return None
    row = max(shown, key=lambda row: row.get(BEST, 0))
    cells = {}
    for link, num_bytes in row["link_bytes"].items():
        src, _, dst = link.partition("->")
        cells[int(src), int(dst)] = float(num_bytes)
    size = 1 + max(max(pair) for pair in cells)
    return HeatMap(
        "links", "Simulated bytes over each link", "to chip", "from chip", "bytes", size, cells,
        label(row, varying),
    )  # fmt: skip


def _note(chosen: str, shared: str) -> str:
    return "; ".join(text for text in (chosen, f"all {shared}" if shared else "") if text)


def label_of(name: str) -> str:
    """A name as an axis has it, with its unit."""
    if name in LABELS:
        return LABELS[name]
    text = name.removeprefix("sim_")
    end = next((end for end in UNITS if text.endswith(end)), "")
    text = text.removesuffix(end).replace("_", " ")
    return f"{text} ({UNITS[end]})" if end else text


def _title(name: str) -> str:
    text = label_of(name).partition(" (")[0]
    return f"Simulated {text}" if name.startswith("sim_") else text


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_wide(series: Sequence[Series], axis: str, bound: str = "") -> bool:
    values = [value for one in series for value in getattr(one, axis)]
    low, high = float(min(values)), float(max(values))
    return low > 0 and high / low >= LOG_FROM[bound or axis]
