"""Scenarios: a box as it is, or with other links, chips, memory or costs.

A scenario is a box and a set of changes; everything else follows from both, whatever the order in
which the changes were made. A changed box has a name of its own, and plans are remembered by box
and costs, so that none of an unchanged box is taken for one of a changed.

A slow link slows what goes over it: messages keep their routes, and "auto" picks the algorithm
that is quickest with it. A slow chip makes all others wait in every collective; a plan is the
program of one chip, so it is that of the slowest, and the others are taken to arrive with it.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

from ..chip.cost import DEFAULT_STACK, CostModel
from ..chip.spec import ChipSpec, Constant, load_product
from ..collectives.costs import CollectiveCosts, costs_of
from ..fabric.submesh import submesh
from ..fabric.topology import Box
from .settings import (
    CHIP,
    COLLECTIVE,
    GIB,
    LINK,
    PLACE,
    SHARE,
    Setting,
    check,
    normal,
    place_of,
    settings_of,
    shares,
    values_of,
)


@dataclass(frozen=True)
class Scenario:
    """A box, and what is changed of it: made by `of` and `but`, never changed itself.

    Attributes:
        base: the box as it is.
        changes: name and value of each setting that is changed, by name; see settings.py.
        stack: the generation of the software: see `chip.cost.stacks`.
    """

    base: Box
    changes: tuple[tuple[str, float], ...] = ()
    stack: str = DEFAULT_STACK

    @classmethod
    def of(
        cls,
        box: Box,
        changes: Iterable[tuple[str, float | str]] = (),
        stack: str = DEFAULT_STACK,
    ) -> "Scenario":
        """The box as it is, or with some changes; raises as `but`. Of one name the last counts."""
        scenario = cls(box, stack=stack)
        for name, value in sorted(changes, key=itemgetter(0)):  # banks first, then their size
            scenario = scenario.but(name, value)
        return scenario

    def but(self, name: str, value: float | str) -> "Scenario":
        """The same with another value of one setting, in the unit of its name.

        A slow link is but("slow_link.3-7", 0.25) or but("slow_link", "3-7:0.25"); a slow chip
        but("slow_chip.5", 0.8). The value that it has without a change, under this stack, is none.

        Raises:
            UnknownSetting: there is no such setting; the nearest is named.
            WrongSetting: it cannot have that value; says which it can.
        """
        name, value = normal(name, value)
        check(self.base, self.settings, name, value)
        place = place_of(self.base, name)
        if place is not None:
            name = f"{name.split('.')[0]}.{'-'.join(map(str, place))}"
        rest = self._without(name)
        usual = 1.0 if place is not None else rest.settings[name].constant.value
        if math.isclose(value, usual):
            return rest
        return replace(self, changes=tuple(sorted({**self._values, name: value}.items())))

    def part(self, shape: tuple[int, int], count: int = 1) -> "Scenario":
        """The scenario of one replica: of the first `count` meshes of a shape, the slowest.

        Meshes are laid side by side from the first chip on. The slowest is the one with the slowest
        chip, of several the one with the slowest link.

        Raises:
            SubmeshError: the box has fewer rows or columns.
        """
        if not self._shares:
            return replace(self, base=submesh(self.base, shape))
        (rows, columns), whole = shape, self.base.shape
        corners = [
            (top, left)
            for top in range(0, whole[0] - rows + 1, rows)
            for left in range(0, whole[1] - columns + 1, columns)
        ]
        parts = [self._part(shape, corner) for corner in corners[:count]]
        if not parts:
            return self._part(shape, (0, 0))
        return min(parts, key=lambda part: (part._slowest(1), part._slowest(2)))

    @property
    def name(self) -> str:
        """The box, and what is changed: "galaxy with link.gbps=400"."""
        return _named(self.base, self._values)

    @cached_property
    def box(self) -> Box:
        """The box with its changed links; the base itself when none are."""
        values = {n: v for n, v in self._values.items() if n.startswith(("link.", "slow_link."))}
        if not values:
            return self.base
        link: dict[str, Any] = {
            name: _changed(getattr(self.base.link, name), value)
            for name, value in values_of(LINK, values).items()
        }
        num_links = values.get("link.per_edge")
        edges = self.base.edges
        if num_links is not None:
            edges = tuple(replace(edge, num_links=round(num_links)) for edge in edges)
        rates = self._shares
        edges = tuple(
            replace(edge, rate=edge.rate * rates.get((edge.a, edge.b), 1)) for edge in edges
        )
        per_edge = self.base.links_per_edge
        return replace(
            self.base,
            name=_named(self.base, values),
            link=replace(self.base.link, **link),
            links_per_edge=per_edge if num_links is None else _changed(per_edge, num_links),
            edges=edges,
        )

    @cached_property
    def chip(self) -> ChipSpec:
        """The chips of the box; where one is slow, that one."""
        share = self._slowest(1)
        if share == 1:
            return self._usual_chip
        return self._usual_chip.but({"clock_hz": round(self._usual_chip.clock_hz * share)})

    @cached_property
    def collective_costs(self) -> CollectiveCosts:
        """The costs of collectives; those that are cycles follow the clock of `chip`."""
        return self._collective_costs(self.chip)

    @cached_property
    def cost_changes(self) -> Mapping[str, float]:
        """The constants of the ops' cost model that are changed, by their names there."""
        return {
            name.removeprefix("cost."): value
            for name, value in self.changes
            if name.startswith("cost.")
        }

    def cost_model(self) -> CostModel:
        """How long ops take on `chip`."""
        return CostModel(self.chip, self.stack, self.cost_changes)

    @cached_property
    def settings(self) -> Mapping[str, Setting]:
        """Every setting with its value in this scenario, by name; of slow places, those it has."""
        chip = self._usual_chip
        model = CostModel(chip, self.stack, self.cost_changes)
        found = settings_of(self.box, chip, self._collective_costs(chip), model)
        for name, value in self.changes:
            if PLACE.fullmatch(name):
                of_all = "clock" if name.startswith("slow_chip") else "link rate"
                constant = Constant(value, f"share of the {of_all}", "inferred", "set")
                found[name] = Setting(name, constant, SHARE)
        return found

    def _without(self, name: str) -> "Scenario":
        if name not in self._values:
            return self
        return replace(self, changes=tuple(c for c in self.changes if c[0] != name))

    @cached_property
    def _values(self) -> dict[str, float]:
        return dict(self.changes)

    @cached_property
    def _shares(self) -> dict[tuple[int, ...], float]:
        return shares(self.base, self.changes)

    def _slowest(self, num_chips: int) -> float:
        """The least share of a chip (1) or of a link between two (2)."""
        return min((v for place, v in self._shares.items() if len(place) == num_chips), default=1)

    @cached_property
    def _usual_chip(self) -> ChipSpec:
        """The chips that are not slow."""
        chip = load_product(self.base.product)
        changes = {name: round(value) for name, value in values_of(CHIP, self._values).items()}
        if "dram.gib" in self._values:
            banks, page = changes.get("dram_banks", chip.dram_banks), chip.dram_alignment
            whole = int(self._values["dram.gib"] * GIB)
            changes["dram_bank_bytes"] = max(
                whole // banks // page * page, chip.dram_reserved_bytes + page
            )
        return chip.but(changes) if changes else chip

    def _collective_costs(self, chip: ChipSpec) -> CollectiveCosts:
        costs, usual = costs_of(self.base), load_product(self.base.product)
        changed = values_of(COLLECTIVE, self._values)
        if chip.clock_hz != usual.clock_hz:
            changed["clock"] = costs.clock.value * chip.clock_hz / usual.clock_hz
        found: dict[str, Any] = {
            name: _changed(getattr(costs, name), value) for name, value in changed.items()
        }
        return replace(costs, **found) if found else costs

    def _part(self, shape: tuple[int, int], corner: tuple[int, int]) -> "Scenario":
        """The part of that shape from a corner on; its slow places have its own numbers."""
        box = self.base
        kept = {}
        for name, value in self.changes:
            place = place_of(box, name)
            if place is not None:
                coords = [
                    (row - corner[0], column - corner[1]) for row, column in map(box.coords, place)
                ]
                if not all(0 <= r < shape[0] and 0 <= c < shape[1] for r, c in coords):
                    continue
                ranks = "-".join(str(row * shape[1] + column) for row, column in coords)
                name = re.sub(r"\..*", f".{ranks}", name)
            kept[name] = value
        return replace(self, base=submesh(box, shape, corner), changes=tuple(sorted(kept.items())))


def _changed(constant: Constant, value: float) -> Constant:
    return replace(constant, value=value)


def _named(box: Box, values: Mapping[str, float]) -> str:
    words = ", ".join(f"{name}={value:g}" for name, value in values.items())
    return f"{box.name} with {words}" if words else box.name
