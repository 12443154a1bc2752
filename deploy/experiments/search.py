"""Searching the deployments of a model on a box: the best of them, and why others fail."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...fabric.topology import Box
from .draw import UNITS
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
    reasons = [
        Reason(what, len(cases), min(cases, key=_distance)[1]) for what, cases in out.items()
    ]
    return best, sorted(reasons, key=lambda reason: -reason.num_cases)


def _broken(search: Search, row: Row, error: str) -> tuple[str, float, str] | None:
    """What a row breaks first, by how much (relative), and how that is said; None: nothing."""
    if error:
        return error, 0.0, ""
    if not row["fits"]:
        if "dram_bytes" not in row:
            return "does not fit in DRAM", math.inf, f" ({row['why_not'].partition('. ')[0]})"
        needed, missing = row["dram_bytes"], -row["dram_free_bytes"]
        how = f" (needs {needed / 1e9:.1f} GB of a chip's {(needed - missing) / 1e9:.1f} GB)"
        return "does not fit in DRAM", missing, how
    for limit in search.limits:
        if limit.broken_by(row):
            value, bound = row[limit.name], limit.above if limit.below is None else limit.below
            assert bound is not None
            side = "above" if limit.below is None else "below"
            kind = f"{limit.name} not {side} {quantity(limit.name, bound, 6)}"
            text = quantity(limit.name, value)
            if text == quantity(limit.name, bound):
                text = quantity(limit.name, value, 6)
            return kind, abs(value - bound), f" ({text})"
    return None


def quantity(name: str, value: float, digits: int = 3) -> str:
    """A result as people read it, with the unit that its name says: "43.4 ms"."""
    ends = (end for end in UNITS if name.endswith(end))
    unit = "tokens/s" if "tokens_per_s" in name else UNITS.get(next(ends, ""), "")
    return f"{value:,.{max(digits, len(str(int(abs(value)))))}g} {unit}".rstrip()


def _distance(case: tuple[float, str]) -> float:
    return case[0]


def _named(row: Row) -> str:
    return f"tp {row['tp']} dp {row['dp']} batch {row['batch']} {row['precision']}"


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _doubling(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself."""
    return sorted({min(1 << power, most) for power in range(most.bit_length() + 1)})
