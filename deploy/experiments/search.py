"""Searching the deployments of a model on a box: the best of them, and why others fail."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...fabric.topology import Box
from .grid import Point
from .limits import Limit
from .outcome import Outcome
from .run import Row


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for.

    Attributes:
        objective: the result that is to be the most.
        limits: on results.
    """

    model: str
    box: Box
    prompt: int
    output: int
    precisions: tuple[str, ...]
    batch_max: int
    objective: str
    limits: tuple[Limit, ...] = ()


class Reason(NamedTuple):
    """Why some deployments are out, and the one of them that came nearest."""

    what: str
    num_cases: int
    nearest: str


def candidates(search: Search) -> list[Point]:
    """Every deployment worth a look, smallest first.

    tp and tp x dp divide the box's chips, and a replica's chips are a mesh within the box; batches
    are powers of two, and `batch_max`, and no replica is without a user.
    """
    rows, columns = search.box.shape
    meshes = {r * c for r in range(1, rows + 1) for c in range(1, columns + 1)}
    sizes = [tp for tp in sorted(meshes) if search.box.num_chips % tp == 0]
    batches = _doubling(search.batch_max)
    return [
        {
            "model": search.model, "box": search.box.name, "tp": tp, "dp": dp, "batch": batch,
            "prompt": search.prompt, "output": search.output, "precision": precision,
        }
        for tp in sizes
        for dp in _divisors(search.box.num_chips // tp)
        for batch in batches
        if batch >= dp
        for precision in search.precisions
    ]  # fmt: skip


def judge(search: Search, outcomes: Sequence[Outcome]) -> tuple[list[Row], list[Reason]]:
    """The legal deployments, the best first, and why the others are out, the most first."""
    best: list[Row] = []
    out: dict[str, list[tuple[float, str]]] = {}
    for outcome in outcomes:
        row = {**outcome.values, **(outcome.result or {})}
        broken = _broken(search, row, outcome.error)
        if broken is None:
            best.append(row)
        else:
            what, distance, how = broken
            out.setdefault(what, []).append((distance, f"{_named(row)}{how}"))
    best.sort(key=lambda row: (-row[search.objective], row["chips"], row["batch"]))
    reasons = [Reason(what, len(cases), min(cases)[1]) for what, cases in out.items()]
    return best, sorted(reasons, key=lambda reason: -reason.num_cases)


def _broken(search: Search, row: Row, error: str) -> tuple[str, float, str] | None:
    """What a row breaks first, by how much (relative), and how that is said; None: nothing."""
    if error:
        return error, 0.0, ""
    if not row["fits"]:
        load = row["batch"] / row["dp"] - 1e6 * row["tp"]  # most chips a replica, then fewest users
        return "does not fit in DRAM", load, f" ({row['why_not'].partition('. ')[0]})"
    for limit in search.limits:
        if limit.broken_by(row):
            value, bound = row[limit.name], limit.above if limit.below is None else limit.below
            distance = abs(value - (bound or 0.0))
            kind = f"{limit.name} not {'above' if limit.below is None else 'below'} {bound:g}"
            return kind, distance, f" ({value:.6g})"
    return None


def _named(row: Row) -> str:
    return f"tp {row['tp']} dp {row['dp']} batch {row['batch']} {row['precision']}"


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _doubling(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    return sorted({min(1 << power, most) for power in range(most.bit_length() + 1)})
