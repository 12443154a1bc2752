"""How far a predicted time may be off: quantiles of what rows said that the fit had not seen.

Shipped in data/residuals.json, by family and stack, with what the rows cover; written by
`meshtwin calibrate --fit --write`. Outside of what they cover a band is wider, the more the further
out, and says so.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...chip.errors import InvalidArgument, did_you_mean, nearest_name
from .case import Residual
from .summary import Summary

FILE = "residuals.json"
LEAST = 0.03
"""The least half width of a band, in log: runs of the same software differ by that."""
PER_DOUBLING = 0.5
"""How much of itself a band grows by, for each doubling beyond what the rows cover (assumed)."""
OTHER_ARCH = OTHER_STACK = 1.0
"""The same for an architecture, or a stack, of which there is no row (assumed)."""
CHANGED = 0.5
"""The same for each constant that was changed: nobody measured such a box (assumed)."""


@dataclass(frozen=True, slots=True)
class Band:
    """A measured time is taken to lie between predicted x low and predicted x high.

    Notes say where the prediction is outside of what was calibrated.
    """

    low: float
    high: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Covered:
    """The residuals of the rows of a family under one stack, each predicted without its group.

    Attributes:
        low, high: 10th and 90th percentile of measured over predicted.
        ranges: least and most of each feature of the rows.
    """

    rows: int
    low: float
    high: float
    archs: tuple[str, ...]
    ranges: Mapping[str, tuple[float, float]]


def band(
    family: str,
    stack: str,
    arch: str,
    features: Mapping[str, float],
    changed: Sequence[str] = (),
) -> Band:
    """The band of a prediction.

    Args:
        family: of measurements: "decode", "ttft", ...
        features: of what is predicted: see `Case.features`; those that no row has do not count.
        changed: names of the constants that are not those of the box.
    Raises:
        InvalidArgument: no such family; the nearest is named.
    """
    known = _shipped()
    if family not in known:
        hint = did_you_mean(nearest_name(family, list(known)))
        raise InvalidArgument(f"no residuals of {family!r}{hint} Known: {', '.join(known)}.")
    stacks = known[family]
    covered = stacks.get(stack) or _widest(stacks.values())
    growth, notes = 1.0, []
    if stack not in stacks:
        growth += OTHER_STACK
        notes.append(f"no measured {family} of stack {stack}: those of {', '.join(stacks)} taken")
    if arch not in covered.archs:
        growth += OTHER_ARCH
        notes.append(f"no measured {family} on {arch} with it: {', '.join(covered.archs)} only")
    for name, value in features.items():
        least, most = covered.ranges.get(name, (value, value))
        factor = _beyond(value, least, most)
        if factor > 1:
            growth += PER_DOUBLING * math.log2(factor)
            end, side = (most, "above") if value > most else (least, "below")
            what, shown, limit = _words(name, value, end)
            notes.append(
                f"{what} {shown} is {factor:.2g} times {side} {limit}, the end of what was measured"
            )
    for name in changed:
        growth += CHANGED
        notes.append(f"{name} is changed, and nobody measured such a box")
    low = min(covered.low, math.exp(-LEAST)) ** growth
    high = max(covered.high, math.exp(LEAST)) ** growth
    return Band(low, high, tuple(notes))


def covered(found: Sequence[Residual]) -> dict[str, Covered]:
    """What residuals say of bands, by stack."""
    stacks: dict[str, list[Residual]] = {}
    for residual in found:
        stacks.setdefault(residual.case.stack, []).append(residual)
    return {stack: _covered(mine) for stack, mine in stacks.items()}


@cache
def shipped_summaries() -> Mapping[str, Mapping[str, float]]:
    """Of each family with its groups left out: rows, median, percentile_90 and bias."""
    return {name: entry["left_out"] for name, entry in _read().items()}


def write(left_out: Mapping[str, Sequence[Residual]]) -> Path:
    """Rewrite the shipped residuals of some families; others stay.

    Raises:
        OSError: meshtwin is not installed where files can be written.
    """
    entries = dict(_read())
    for name, found in left_out.items():
        summary = Summary.of(name, found)
        entries[name] = {
            "left_out": {
                "rows": summary.num_rows,
                **{k: round(getattr(summary, k), 4) for k in ("median", "percentile_90", "bias")},
            },
            "stacks": {stack: asdict(each) for stack, each in covered(found).items()},
        }
    path = Path(str(_path()))
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return path


def _covered(found: Sequence[Residual]) -> Covered:
    ratios = sorted(r.case.measured_us / r.predicted_us for r in found)
    cases = [residual.case for residual in found]
    names = dict.fromkeys(name for case in cases for name in case.features)
    values = {name: [c.features[name] for c in cases if name in c.features] for name in names}
    return Covered(
        rows=len(found),
        low=round(_quantile(ratios, 0.1), 4),
        high=round(_quantile(ratios, 0.9), 4),
        archs=tuple(dict.fromkeys(case.spec.arch for case in cases)),
        ranges={name: (min(each), max(each)) for name, each in values.items()},
    )


def _quantile(ordered: Sequence[float], share: float) -> float:
    at = share * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def _beyond(value: float, least: float, most: float) -> float:
    """How many times a value is beyond a range; 1 inside."""
    if value <= 0 or least <= 0:
        return 1.0
    return max(1.0, value / most, least / value)


def _words(name: str, value: float, end: float) -> tuple[str, str, str]:
    """A feature's name, value and end of range, for people."""
    what = name.replace("_", " ")
    if name.endswith("_bytes"):
        return what.removesuffix(" bytes"), f"{value / 1e9:.2g} GB", f"{end / 1e9:.2g} GB"
    return what, f"{value:g}", f"{end:g}"


def _widest(stacks: Iterable[Covered]) -> Covered:
    every = list(stacks)
    names = dict.fromkeys(name for each in every for name in each.ranges)
    ends = {name: [each.ranges[name] for each in every if name in each.ranges] for name in names}
    return Covered(
        rows=sum(each.rows for each in every),
        low=min(each.low for each in every),
        high=max(each.high for each in every),
        archs=tuple(dict.fromkeys(arch for each in every for arch in each.archs)),
        ranges={n: (min(e[0] for e in es), max(e[1] for e in es)) for n, es in ends.items()},
    )


@cache
def _shipped() -> Mapping[str, Mapping[str, Covered]]:
    return {
        family: {stack: _of(fields) for stack, fields in entry["stacks"].items()}
        for family, entry in _read().items()
    }


def _of(fields: Mapping[str, Any]) -> Covered:
    return Covered(
        fields["rows"],
        fields["low"],
        fields["high"],
        tuple(fields["archs"]),
        {name: (ends[0], ends[1]) for name, ends in fields["ranges"].items()},
    )


def _path() -> Any:
    return files("meshtwin.deploy.calibration") / "data" / FILE


def _read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_path().read_text(encoding="utf-8"))
    return found
