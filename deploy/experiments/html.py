"""One page with all pictures and all rows of a sweep; it needs no network and no other file."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .figures import Figure
from .plain import text_of
from .results import columns
from .run import Row
from .svg import drawn

MOST_ROWS = 2000  # in the table; the CSV has all
STYLE = """\
body{font:14px system-ui,sans-serif;color:#2b3038;margin:24px auto;max-width:1080px;padding:0 16px}
h1{font-size:24px;margin:0 0 4px}p{color:#555c67;margin:4px 0}
svg{width:100%;border:1px solid #e3e5e9;border-radius:8px;margin:12px 0;background:#fff}
svg text{font:12px system-ui,sans-serif;fill:#2b3038;stroke:none}
svg .title{font-size:17px;font-weight:600}svg .note,svg .tick{fill:#555c67}
svg .middle{text-anchor:middle}svg .end{text-anchor:end}svg .inside{fill:#fff;font-size:11px}
svg .grid{stroke:#e3e5e9}svg .line{fill:none;stroke-width:2}svg .band{fill-opacity:.06;
stroke-opacity:.6;stroke-dasharray:4 3}
svg .beaten{opacity:.35}svg .frame{fill:#f4f5f7;stroke:#d9dbe0}svg .key{cursor:pointer}
svg .hidden{display:none}svg .key.off{opacity:.35}
.rows{overflow-x:auto}table{border-collapse:collapse;font-size:12px;white-space:nowrap}
th,td{padding:3px 10px;text-align:right;border-bottom:1px solid #e3e5e9}
td{max-width:24em;overflow:hidden;text-overflow:ellipsis}
th{cursor:pointer;position:sticky;top:0;background:#fff}td.text{text-align:left}
tr.failed td{color:#b00c20}"""
SCRIPT = """\
document.querySelectorAll("svg .key").forEach(key => key.addEventListener("click", () => {
  key.classList.toggle("off");
  key.closest("svg").querySelectorAll(".series." + key.dataset.series)
    .forEach(part => part.classList.toggle("hidden"));
}));
document.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
  const body = document.querySelector("tbody"), down = head.dataset.down !== "1";
  head.dataset.down = down ? "1" : "0";
  const value = row => row.cells[column].textContent;
  const rising = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  const order = (a, b) => a === "" || b === "" ? (a === "") - (b === "")
    : down ? rising(b, a) : rising(a, b);
  [...body.rows].sort((a, b) => order(value(a), value(b)))
    .forEach(row => body.append(row));
}));"""


def write_html(
    path: Path,
    name: str,
    figures: Sequence[Figure],
    values: Sequence[str],
    rows: Sequence[Row],
    about: Mapping[str, Any],
) -> Path:
    """Write the page of the sweep `name`, whose points have `values`; returns its path."""
    versions = ", ".join(f"{what} {version}" for what, version in about["versions"].items())
    shown = rows[:MOST_ROWS]
    less = f"; the first {MOST_ROWS} here, all in results.csv" if len(rows) > MOST_ROWS else ""
    parts = [
        "<!doctype html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}</title>',
        f"<style>{STYLE}</style></head><body>",
        f"<h1>{escape(name)}</h1>",
        f"<p>{about['points']} points, {about['failed']} failed{less}. Times and rates named sim_ "
        "are simulated, not measured.</p>",
        f"<p>{escape(versions)}, constants {about['constants_digest']}</p>",
        *(drawn(figure) for figure in figures),
        '<div class="rows"><table>',
        *_table(columns(values, shown), shown),
        "</table></div>",
        f"<script>{SCRIPT}</script></body></html>\n",
    ]
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _table(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f"<thead><tr>{head}</tr></thead><tbody>"]
    for row in rows:
        cells = "".join(_cell(row.get(name)) for name in names)
        kind = ' class="failed"' if row["error"] else ""
        lines.append(f"<tr{kind}>{cells}</tr>")
    return [*lines, "</tbody>"]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"<td>{value:.6g}</td>"
    kind = ' class="text"' if isinstance(value, str) else ""
    return f"<td{kind}>{escape(text_of(value))}</td>"
