"""The simulated time of collectives beside measured ones, and the fit of the free constants.

The fit is a pattern search: each free constant in turn is tried a step up and a step down, and the
steps shrink. It starts from fixed round numbers and draws no random ones, so it always ends at the
same values. What it minimises is the mean absolute error, each family counting alike, and beyond
`TOLERATED` the square of the excess, so that no row is given up for the others.
"""

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..chip.spec import Constant
from .costs import CollectiveCosts, load_costs
from .measured import Family, Row, load_rows, predict_us

Costs: TypeAlias = Mapping[str, CollectiveCosts]
"""Constants by architecture."""
Key: TypeAlias = tuple[tuple[str, ...], str]
"""A free constant: the architectures that share it, and its name."""

ARCHS = ("blackhole", "wormhole_b0")
START = {
    "step_overhead": 1000.0,
    "reduce_overhead": 1000.0,
    "startup": 3.0,
    "reduce_bandwidth": 50.0,
    "copy_bandwidth": 25.0,
}
SHARED = ("step_overhead", "reduce_overhead")  # the same software on both: in clock cycles
STEPS = (1.4, 1.15, 1.05, 1.01)
TOLERATED = 0.17
EXCESS_WEIGHT = 100.0
IMPROVEMENT = 1e-4  # of the sum over families: less is not worth another turn


@dataclass(frozen=True, slots=True)
class Residual:
    """A measured row and what the simulator says."""

    row: Row
    simulated_us: float

    @property
    def error(self) -> float:
        """Simulated over measured, less one: negative where the simulator is too fast."""
        return self.simulated_us / self.row.measured_us - 1


@dataclass(frozen=True, slots=True)
class Summary:
    """The residuals of one family; errors are fractions, absolute but for the bias."""

    family: str
    num_rows: int
    median: float
    percentile_90: float
    bias: float
    worst: Residual


def shipped_costs() -> Costs:
    """The constants in data/costs.toml."""
    return {arch: load_costs(arch) for arch in ARCHS}


def residuals(costs: Costs, rows: Iterable[Row] | None = None) -> list[Residual]:
    """Each measured row (by default all of data/collectives.csv) beside its simulated time."""
    rows = load_rows() if rows is None else rows
    return [Residual(row, predict_us(row, costs[row.family.arch])) for row in rows]


def summarize(name: str, found: list[Residual]) -> Summary:
    """Median and 90th percentile of the absolute error, mean of the signed one, worst row."""
    sizes = sorted(abs(residual.error) for residual in found)
    return Summary(
        name,
        len(found),
        statistics.median(sizes),
        sizes[math.ceil(0.9 * len(sizes)) - 1],
        statistics.fmean(residual.error for residual in found),
        max(found, key=lambda residual: abs(residual.error)),
    )


def by_family(found: Iterable[Residual]) -> dict[Family, list[Residual]]:
    """Residuals by family, in the order of the rows."""
    families: dict[Family, list[Residual]] = {}
    for residual in found:
        families.setdefault(residual.row.family, []).append(residual)
    return families


def fit(rows: Iterable[Row] | None = None) -> Costs:
    """The free constants fitted to the rows; documented ones stay as they are."""
    rows = tuple(load_rows() if rows is None else rows)
    archs = tuple(arch for arch in ARCHS if any(row.family.arch == arch for row in rows))
    keys: list[Key] = [(archs, name) for name in SHARED]
    keys += [((arch,), name) for arch in archs for name in START if name not in SHARED]
    values = {key: START[key[1]] for key in keys}
    losses = {arch: _loss(arch, values, rows) for arch in archs}
    for step in STEPS:
        while _sweep(values, losses, step, lambda arch, trial: _loss(arch, trial, rows)):
            pass
    return {**shipped_costs(), **{arch: _costs(arch, values) for arch in archs}}


def leave_one_out(rows: Iterable[Row] | None = None) -> list[Summary]:
    """Each family as predicted by constants that were fitted without it, and all of them."""
    every = tuple(load_rows() if rows is None else rows)
    families = dict.fromkeys(row.family for row in every)
    summaries, found = [], []
    for left_out in families:
        costs = fit(row for row in every if row.family != left_out)
        predicted = residuals(costs, [row for row in every if row.family == left_out])
        summaries.append(summarize(str(left_out), predicted))
        found += predicted
    return [*summaries, summarize("all", found)]


def _sweep(
    values: dict[Key, float],
    losses: dict[str, float],
    step: float,
    loss: Callable[[str, Mapping[Key, float]], float],
) -> bool:
    """Try each constant a step up and down; True when one of them got better."""
    better = False
    for key in values:
        for factor in (step, 1 / step):
            trial = {**values, key: float(f"{values[key] * factor:.4g}")}
            changed = {arch: loss(arch, trial) for arch in key[0]}
            if sum(changed.values()) < sum(losses[arch] for arch in key[0]) - IMPROVEMENT:
                values.update(trial)
                losses.update(changed)
                better = True
                break
    return better


def _loss(arch: str, values: Mapping[Key, float], rows: tuple[Row, ...]) -> float:
    costs = {arch: _costs(arch, values)}
    mine = residuals(costs, [row for row in rows if row.family.arch == arch])
    return sum(
        statistics.fmean(
            abs(residual.error) + EXCESS_WEIGHT * max(0.0, abs(residual.error) - TOLERATED) ** 2
            for residual in found
        )
        for found in by_family(mine).values()
    )


def _costs(arch: str, values: Mapping[Key, float]) -> CollectiveCosts:
    shipped = load_costs(arch)
    fitted: dict[str, Any] = {
        name: _fitted(getattr(shipped, name), value)
        for (archs, name), value in values.items()
        if arch in archs
    }
    return dataclasses.replace(shipped, **fitted)


def _fitted(shipped: Constant, value: float) -> Constant:
    return Constant(float(f"{value:.3g}"), shipped.unit, "inferred", "fitted to collectives.csv")
