"""`meshtwin sweep`: a function over many values, in parallel, resumable, with pictures."""

import argparse
import functools
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ..chip.errors import did_you_mean, nearest_name
from .experiments.draw import figures
from .experiments.html import write_html
from .experiments.journal import FILE as JOURNAL
from .experiments.journal import Journal
from .experiments.png import require_matplotlib, write_pngs
from .experiments.results import about_of, write_results
from .experiments.run import Report, Row, count_done, keeps_limits, run_sweep
from .experiments.stamp import stamp_of
from .experiments.sweep import Sweep, read_sweep
from .experiments.workers import on_ray, on_this_process

DESCRIPTION = """\
Evaluate a function at every point of a grid and write the results: results.csv, results.parquet
where pyarrow is installed, report.html with pictures, and about.json with versions and constants.
FILE is a TOML file (the planner over models, boxes, tp, dp, batch, ...) or a Python file with
`def point(**values) -> dict` and `grid`. docs/sweeps.md describes both.

Points run as Ray tasks, one a CPU. Each finished point is on disk (points.jsonl) before the next
ones are counted: the same command again goes on where a killed one stopped, and evaluates only
points that are new, or whose code or constants have changed. A point that fails is a row with its
error.
"""
EPILOG = """\
examples:
  meshtwin sweep examples/scaling.toml
  meshtwin sweep my_sweep.py --local --png
  meshtwin sweep my_sweep.py --address auto --out results
"""
REPORT = "report.html"
MOST_ERRORS = 5  # kinds of errors shown


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "sweep",
        parents=[common],
        help="run a function or the planner over many values, and draw the results",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("file", type=Path, metavar="FILE", help="a sweep: .toml or .py")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="of the results (FILE-results)")
    where = command.add_mutually_exclusive_group()
    where.add_argument("--local", action="store_true", help="in this process, without Ray")
    where.add_argument("--address", help='of a Ray cluster, "auto" or host:port (a local Ray)')
    command.add_argument("--png", action="store_true", help="also draw PNGs, with matplotlib")
    command.add_argument(
        "--retry-failed", action="store_true", help="evaluate again what failed before"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="only count the points, and those already done"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run a sweep; exit code 1 when every point failed."""
    sweep = read_sweep(args.file)
    if args.png:
        require_matplotlib()
    stamp = stamp_of(sweep.function.digest)
    folder = args.out or args.file.with_name(f"{args.file.stem}-results")
    if args.dry_run:
        done = 0
        if (folder / JOURNAL).exists():
            with Journal(folder) as journal:
                done = count_done(sweep, stamp, journal)
        print(f"{sweep.name}: {len(sweep.points)} points, {done} of them done in {folder}")
        return 0
    evaluator = on_this_process if args.local else functools.partial(on_ray, address=args.address)
    with Journal(folder) as journal, progress(sweep.name) as report:
        try:
            rows = run_sweep(sweep, stamp, journal, evaluator, report, args.retry_failed)
        except KeyboardInterrupt:
            print(f"{sweep.name}: the same command goes on from here", file=sys.stderr)
            raise
        written = write_results(folder, sweep, stamp, rows)
        about = about_of(sweep, stamp, rows)
        drawn = figures(rows, sweep.names, sweep.charts)
        written.append(write_html(folder / REPORT, sweep.name, drawn, sweep.names, rows, about))
        if args.png:
            written += write_pngs(folder, sweep.name, drawn)
    if args.json:
        print(json.dumps({"about": about, "rows": rows, "files": [str(p) for p in written]}))
    else:
        _print(sweep, rows, written)
    return 1 if all(row["error"] for row in rows) else 0


@contextmanager
def progress(name: str) -> Iterator[Report]:
    """A bar with an estimate of the time left, on stderr."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failed]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=300.0,
    )
    with bar:
        task = bar.add_task(name, total=None, failed="")

        def report(done: int, total: int, failed: int) -> None:
            text = f"{failed} failed" if failed else ""
            bar.update(task, completed=done, total=total, failed=text)

        yield report


def unknown_names(sweep: Sweep, rows: list[Row]) -> list[str]:
    """What limits and charts name, and no row has."""
    named = [limit.name for limit in sweep.limits] + [n for pair in sweep.charts for n in pair]
    known = {name for row in rows for name in row}
    return [name for name in dict.fromkeys(named) if name not in known]


def _print(sweep: Sweep, rows: list[Row], written: list[Path]) -> None:
    console = Console(soft_wrap=True, highlight=False)
    errors = Counter(row["error"] for row in rows if row["error"])
    within = ""
    if sweep.limits:
        kept = sum(keeps_limits(row) for row in rows)
        within = f", {kept} within the limits"
    misfits = sum(row.get("fits") is False for row in rows)
    out = f", {misfits} do not fit" if misfits else ""
    counts = f"{len(rows)} points, {errors.total()} failed{out}{within}"
    console.print(f"{sweep.name}: {counts}", markup=False)
    for name in unknown_names(sweep, rows):
        hint = did_you_mean(nearest_name(name, list(rows[0])))
        console.print(f"  no row has {name!r}, which a limit or a chart names{hint}", markup=False)
    for error, count in errors.most_common(MOST_ERRORS):
        console.print(f"  {count} x {error}", markup=False)
    if len(errors) > MOST_ERRORS:
        console.print(f"  and {len(errors) - MOST_ERRORS} other errors, see the results")
    for path in written:
        console.print(f"  {path}", markup=False)
