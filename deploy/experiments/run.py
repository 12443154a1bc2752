"""Running a sweep: what is done stays done, the rest is evaluated, and rows come in order."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

from .journal import Journal
from .limits import broken
from .outcome import Outcome
from .point_function import PointFunction
from .stamp import Stamp
from .sweep import Sweep

Evaluator = Callable[
    [PointFunction, Sequence[dict[str, Any]]], Generator[list[Outcome], None, None]
]
Report = Callable[[int, int, int], None]
"""Called with the points done, all points, and those that failed."""
Row = dict[str, Any]


def run_sweep(
    sweep: Sweep,
    stamp: Stamp,
    journal: Journal,
    evaluator: Evaluator,
    report: Report,
    retry_failed: bool = False,
) -> list[Row]:
    """Evaluate the points that the journal does not have, and return a row for every point.

    Args:
        evaluator: see workers.py.
        retry_failed: evaluate those again that failed before.
    """
    keys = {stamp.key(point): point for point in sweep.points}
    done = {
        key
        for key in keys
        if key in journal.finished and not (retry_failed and journal.finished[key].error)
    }
    num_failed = sum(bool(journal.finished[key].error) for key in done)
    num_done = len(done)
    report(num_done, len(keys), num_failed)
    left = [point for key, point in keys.items() if key not in done]
    if left:
        with closing(evaluator(sweep.function, left)) as chunks:
            for outcomes in chunks:
                journal.append([(stamp.key(outcome.values), outcome) for outcome in outcomes])
                num_done += len(outcomes)
                num_failed += sum(bool(outcome.error) for outcome in outcomes)
                report(num_done, len(keys), num_failed)
    return [row_of(sweep, journal.finished[key]) for key in keys]


def row_of(sweep: Sweep, outcome: Outcome) -> Row:
    """Values and results of a point in one; `limits` says what they break, `error` what failed."""
    row = {**outcome.values, **(outcome.result or {})}
    if sweep.limits:
        row["limits"] = "" if outcome.error else broken(sweep.limits, row)
    return {**row, "error": outcome.error}


def keeps_limits(row: Row) -> bool:
    """Whether a row has results, and they keep the limits: not where the model does not fit."""
    return not row["error"] and row.get("fits") is not False and not row.get("limits")


def count_done(sweep: Sweep, stamp: Stamp, journal: Journal) -> int:
    """How many points of a sweep the journal has."""
    return sum(stamp.key(point) in journal.finished for point in sweep.points)
