"""The fit of free constants to measured rows: least squares of log errors, robust to a few rows.

It starts from the shipped constants, within the bounds, and draws no random numbers: the same rows
give the same constants. Values are rounded to three digits, as they are shipped.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..errors import MissingSolver
from .case import Case, Residual, residuals
from .place import SHIPPED, Free, Values

SOFT = 0.05  # log errors well above this count by their size, not by its square
STEP = 1e-4  # of a constant, for the slopes: times are rounded to picoseconds
DIGITS = 3


def fit(cases: Sequence[Case], free: Sequence[Free], given: Values = SHIPPED) -> Values:
    """The constants that meet the cases best; those that bear on none are left out.

    Groups of cases count alike, large or small. Cases with a note are not fitted.

    Args:
        given: other constants in place of the shipped ones.

    Raises:
        MissingSolver: SciPy is not installed.
    """
    solve = _solver()
    cases = [case for case in cases if not case.note]
    free = [f for f in free if _bears(f, cases, given)]
    if not free or not cases:
        return {}
    scales = [max(abs(f.place.shipped.value), f.most / 1000) for f in free]

    def values(x: Sequence[float]) -> Values:
        return {f.place: float(v) * s for f, v, s in zip(free, x, scales, strict=True)}

    sizes = Counter(case.group for case in cases)
    mean = len(cases) / len(sizes)
    weights = [math.sqrt(mean / sizes[case.group]) for case in cases]

    def errors(x: Sequence[float]) -> list[float]:
        found = residuals(cases, {**given, **values(x)})
        return [math.log1p(r.error) * weight for r, weight in zip(found, weights, strict=True)]

    low = [f.least / s for f, s in zip(free, scales, strict=True)]
    high = [f.most / s for f, s in zip(free, scales, strict=True)]
    start = [
        min(max(f.place.shipped.value / s, a + 1e-6), b - 1e-6)
        for f, s, a, b in zip(free, scales, low, high, strict=True)
    ]
    solved = solve(errors, start, loss="soft_l1", f_scale=SOFT, bounds=(low, high), diff_step=STEP)
    return {place: float(f"{value:.{DIGITS}g}") for place, value in values(solved.x).items()}


def leave_one_out(
    cases: Sequence[Case], free: Sequence[Free], given: Values = SHIPPED
) -> list[Residual]:
    """Each group of cases as predicted by constants that were fitted without it.

    A constant that no other group bears on is taken as if it had never been measured.
    """
    found = []
    unknown = {f.place: f.place.unknown for f in free}
    for group in dict.fromkeys(case.group for case in cases):
        others = [case for case in cases if case.group != group]
        mine = [case for case in cases if case.group == group]
        found += residuals(mine, {**given, **unknown, **fit(others, free, given)})
    return found


def _bears(free: Free, cases: Sequence[Case], given: Values) -> bool:
    """Does any case take another time when the constant changes?"""
    value = given.get(free.place, free.place.shipped.value)
    other = value * 0.9 if value > free.least else free.least + (free.most - free.least) / 10
    before = residuals(cases, {**given, free.place: value})
    after = residuals(cases, {**given, free.place: other})
    return any(a.predicted_us != b.predicted_us for a, b in zip(before, after, strict=True))


def _solver() -> Any:
    try:
        from scipy.optimize import least_squares
    except ImportError:
        raise MissingSolver("scipy") from None
    return least_squares
