"""Settings: the constants of links, chips and cost models that a scenario can change, by name.

A name says what has the constant, and ends in its unit: "link.gbps", "collective.startup_us". Two
kinds of setting name a place: "slow_link.3-7" is the rate of the links between two chips as a share
of what the box has, "slow_chip.5" the clock of a chip as a share of that of the others.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ..chip.cost import CostModel
from ..chip.errors import nearest_name
from ..chip.grid import load_grid
from ..chip.spec import ChipSpec, Constant
from ..collectives.costs import CollectiveCosts
from ..fabric.topology import Box
from .errors import UnknownPlace, UnknownSetting, WrongSetting

GIB: Final = 1 << 30
PLACE: Final = re.compile(r"(slow_link)\.(\d+)-(\d+)|(slow_chip)\.(\d+)")
OF_OTHERS: Final = re.compile(r".*_passes|topk_.*|server_.*")
"""Constants that no plan is changed by: those that the rules of ops read, and those of a server."""


MOST: Final = 1e12
"""No constant of a box is larger, in its unit: more is a mistake, and times overflow."""


class Range(NamedTuple):
    """The values that a setting can have: `least` and `most` are among them."""

    least: float
    most: float = MOST
    is_whole: bool = False

    def __str__(self) -> str:
        kind = "a whole number" if self.is_whole else "a number"
        if self.most == MOST:
            return f"{kind}, {self.least:g} or more, {MOST:g} at most"
        return f"{kind} from {self.least:g} to {self.most:g}"

    def has(self, value: float) -> bool:
        """Is the value legal?"""
        fits = math.isfinite(value) and self.least <= value <= self.most
        return fits and (not self.is_whole or value == round(value))


@dataclass(frozen=True, slots=True)
class Setting:
    """A constant that can be changed: its value in force, in the unit of its name."""

    name: str
    constant: Constant
    range: Range


class Field(NamedTuple):
    """What a setting changes: a constant of its owner, which is `factor` times the setting."""

    name: str
    factor: int
    unit: str
    range: Range


RATE, COUNT, TIME, SHARE = Range(1e-3), Range(1, is_whole=True), Range(0), Range(1e-3, 1)

LINK: Final[Mapping[str, Field]] = {
    "link.gbps": Field("line_rate", 125_000_000, "Gbit/s, a link and direction", RATE),
    "link.packets_per_s": Field("packet_rate", 1, "packets/s", COUNT),
    "link.packet_payload_bytes": Field("packet_payload", 1, "bytes", COUNT),
    "link.packet_header_bytes": Field("packet_header", 1, "bytes", COUNT),
    "link.frame_payload_bytes": Field("frame_payload", 1, "bytes", COUNT),
    "link.frame_overhead_bytes": Field("frame_overhead", 1, "bytes", COUNT),
    "link.first_hop_ns": Field("first_hop_latency", 1, "ns", RATE),
    "link.hop_ns": Field("hop_latency", 1, "ns", RATE),
}
CHIP: Final[Mapping[str, Field]] = {
    "chip.clock_mhz": Field("clock_hz", 1_000_000, "MHz", Range(1)),
    "chip.grid_columns": Field("grid_columns", 1, "cores", COUNT),
    "chip.grid_rows": Field("grid_rows", 1, "cores", COUNT),
    "dram.banks": Field("dram_banks", 1, "banks", COUNT),
    "dram.gb_per_s": Field("dram_bandwidth_bytes_per_s", 1_000_000_000, "GB/s, all banks", RATE),
    "l1.kib": Field("l1_bytes", 1024, "KiB, a core", Range(1)),
}
COLLECTIVE: Final[Mapping[str, Field]] = {
    "collective.startup_us": Field("startup", 1, "us", TIME),
    "collective.step_overhead_cycles": Field("step_overhead", 1, "cycles", TIME),
    "collective.reduce_overhead_cycles": Field("reduce_overhead", 1, "cycles", TIME),
    "collective.reduce_gb_per_s": Field("reduce_bandwidth", 1, "GB/s, a link", RATE),
    "collective.copy_gb_per_s": Field("copy_bandwidth", 1, "GB/s, a link", RATE),
    "collective.copy_hidden_above_bytes": Field(
        "copy_hidden_above", 1, "bytes, a link; 0: never", TIME
    ),
}
OF_COSTS: Final[Mapping[str, Range]] = {"matmul_overlap": Range(0, 1), "row_cores": COUNT}
"""Constants of the cost model whose units do not say what they can be."""


UNITS: Final = {
    name: field.unit.partition(",")[0] for name, field in {**LINK, **CHIP, **COLLECTIVE}.items()
}
"""Of the settings that are no constants of the ops' cost model, as errors say them."""


def settings_of(
    box: Box, chip: ChipSpec, costs: CollectiveCosts, model: CostModel
) -> dict[str, Setting]:
    """Every setting that names no place, with its value on such a box, chips and costs."""
    link = box.link.constants()
    collective = {field.name: getattr(costs, field.name) for field in COLLECTIVE.values()}
    memory = chip.constants["dram_bank_bytes"]
    found = [
        *(_setting(name, field, link[field.name]) for name, field in LINK.items()),
        Setting("link.per_edge", box.links_per_edge, COUNT),
        *(_setting(name, field, chip.constants[field.name]) for name, field in CHIP.items()),
        Setting(
            "dram.gib",
            replace(memory, value=chip.dram_banks * chip.dram_bank_bytes / GIB, unit="GiB"),
            RATE,
        ),
        *(_setting(name, field, collective[field.name]) for name, field in COLLECTIVE.items()),
        *(
            Setting(f"cost.{name}", constant, _range_of(name, constant.unit))
            for name, constant in model.constants.items()
            if not OF_OTHERS.fullmatch(name)
        ),
    ]
    settings = {setting.name: setting for setting in found}
    reserved = Range(chip.l1_reserved_bytes // 1024 + 1)
    settings["l1.kib"] = replace(settings["l1.kib"], range=reserved)
    grid = load_grid(chip.arch)
    for name, most in (("columns", grid.tensix_x), ("rows", grid.tensix_y)):
        legal = Range(1, len(most), is_whole=True)
        settings[f"chip.grid_{name}"] = replace(settings[f"chip.grid_{name}"], range=legal)
    return settings


def place_of(box: Box, name: str) -> tuple[int, ...] | None:
    """The two chips of a "slow_link.A-B" (ascending) or the chip of a "slow_chip.N"; else None.

    Raises:
        UnknownPlace: the box has no such link or chip; says which it has.
    """
    match = PLACE.fullmatch(name)
    if match is None:
        return None
    if match[4]:
        rank = int(match[5])
        _check_chip(box, name, rank)
        return (rank,)
    a, b = sorted((int(match[2]), int(match[3])))
    for rank in (a, b):
        _check_chip(box, name, rank)
    if b not in box.neighbours(a):
        beside = ", ".join(map(str, box.neighbours(a))) or "none"
        why = f"{a} and {b} are not neighbours in {box.name}; those of {a} are: {beside}"
        raise UnknownPlace(name, why)
    return (a, b)


def normal(name: str, value: float | str) -> tuple[str, float]:
    """A change as it is kept: ("slow_link", "3-7:0.25") is ("slow_link.3-7", 0.25).

    Raises:
        WrongSetting: the value is no number, or not PLACE:SHARE where it must be.
    """
    if name in ("slow_link", "slow_chip"):
        form = r"(\d+-\d+)\s*:\s*(.+)" if name == "slow_link" else r"(\d+)\s*:\s*(.+)"
        match = re.fullmatch(form, str(value).strip())
        if match is None:
            example = "3-7:0.25" if name == "slow_link" else "5:0.8"
            raise WrongSetting(name, str(value), f"a place and a share of its rate, as {example}")
        name, value = f"{name}.{match[1]}", match[2]
    try:
        return name, float(value)
    except (TypeError, ValueError):
        in_unit = f"a number in {UNITS[name]}" if name in UNITS else "a number"
        raise WrongSetting(name, str(value), in_unit) from None


def _check_chip(box: Box, name: str, rank: int) -> None:
    if rank >= box.num_chips:
        last = box.num_chips - 1
        raise UnknownPlace(name, f"{box.name} has {f'chips 0 to {last}' if last else 'chip 0'}")


def check(box: Box, settings: Mapping[str, Setting], name: str, value: float) -> None:
    """See that there is such a setting, and that it can have the value.

    Raises:
        UnknownSetting: there is none; the nearest is named.
        WrongSetting: it cannot; says which values are legal.
    """
    if place_of(box, name) is not None:
        legal = SHARE
    elif name in settings:
        legal = settings[name].range
    else:
        known = [*settings, "slow_link", "slow_chip"]
        raise UnknownSetting(name, nearest_name(name.lower(), known))
    if not legal.has(value):
        raise WrongSetting(name, f"{value:g}", str(legal))


def values_of(fields: Mapping[str, Field], changes: Mapping[str, float]) -> dict[str, float]:
    """The constants, by their own names, that the changes to these fields ask for."""
    return {
        field.name: changes[name] * field.factor
        for name, field in fields.items()
        if name in changes
    }


def shares(box: Box, changes: Iterable[tuple[str, float]]) -> dict[tuple[int, ...], float]:
    """The slow places among the changes: the share of their rate by chip (a,) or link (a, b)."""
    found = [(place_of(box, name), value) for name, value in changes]
    return {place: value for place, value in found if place is not None}


def _setting(name: str, field: Field, constant: Constant) -> Setting:
    value = constant.value if field.factor == 1 else constant.value / field.factor
    return Setting(name, replace(constant, value=value, unit=field.unit), field.range)


def _range_of(name: str, unit: str) -> Range:
    """The values of a constant of the cost model: times can be 0, what divides cannot."""
    if name in OF_COSTS:
        return OF_COSTS[name]
    if unit.startswith(("fraction", "share")):
        return SHARE
    return TIME if unit.split()[0] in ("us", "ms", "ns", "clock", "reshards") else RATE
