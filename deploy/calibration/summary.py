"""What the residuals of a set of rows come to."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .case import Residual


@dataclass(frozen=True, slots=True)
class Summary:
    """Residuals of some rows; errors are fractions, absolute but for the bias."""

    name: str
    num_rows: int
    median: float
    percentile_90: float
    bias: float
    worst: Residual

    @classmethod
    def of(cls, name: str, found: Sequence[Residual]) -> "Summary":
        """Median and 90th percentile of the absolute error, mean of the signed one, worst row."""
        sizes = sorted(abs(residual.error) for residual in found)
        return cls(
            name,
            len(found),
            statistics.median(sizes),
            sizes[math.ceil(0.9 * len(sizes)) - 1],
            statistics.fmean(residual.error for residual in found),
            max(found, key=lambda residual: abs(residual.error)),
        )


def by_group(found: Sequence[Residual]) -> list[Summary]:
    """A summary of each group, in the order of the rows."""
    groups: dict[str, list[Residual]] = {}
    for residual in found:
        groups.setdefault(residual.case.group, []).append(residual)
    return [Summary.of(name, rows) for name, rows in groups.items()]
