"""Limits that a row of results is to keep: `sim_ttft_ms` below 500, and so on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...chip.errors import did_you_mean, nearest_name

BOUNDS = ("above", "below")


@dataclass(frozen=True, slots=True)
class Limit:
    """Bounds of one value or result, both allowed themselves; None: no bound on that side."""

    name: str
    above: float | None = None
    below: float | None = None

    def broken_by(self, row: Mapping[str, Any]) -> str:
        """Why a row breaks the limit, or "". A row without that value breaks none."""
        value = row.get(self.name)
        if not isinstance(value, (int, float)):
            return ""
        if self.above is not None and value < self.above:
            return f"{self.name} {value:.6g} is not above {self.above:g}"
        if self.below is not None and value > self.below:
            return f"{self.name} {value:.6g} is not below {self.below:g}"
        return ""


def broken(limits: tuple[Limit, ...], row: Mapping[str, Any]) -> str:
    """All that a row breaks, in one text; "" when it keeps the limits."""
    return "; ".join(text for limit in limits if (text := limit.broken_by(row)))


def read_limits(table: Mapping[str, Any]) -> tuple[Limit, ...]:
    """Limits of a table {name: {above: number, below: number}}.

    Raises:
        WrongLimit: names the entry, and the nearest legal key.
    """
    return tuple(_limit(name, bounds) for name, bounds in table.items())


class WrongLimit(ValueError):
    """An entry of a table of limits is wrong. `name`: which."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(name, what)
        self.name, self.what = name, what

    def __str__(self) -> str:
        return f"limit {self.name}: {self.what}"


def _limit(name: str, bounds: Any) -> Limit:
    if not isinstance(bounds, dict) or not bounds:
        raise WrongLimit(name, f"expected {{ below = 500 }} or {{ above = 20 }}, found {bounds!r}")
    for key, value in bounds.items():
        if key not in BOUNDS:
            hint = did_you_mean(nearest_name(key, BOUNDS))
            raise WrongLimit(name, f"unknown bound {key!r}{hint} Known: {', '.join(BOUNDS)}.")
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise WrongLimit(name, f"{key} (={value!r}) must be a number")
    return Limit(name, **bounds)
