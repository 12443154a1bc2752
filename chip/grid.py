"""Where the cores of a die are, before any of them is left off. Data: data/grids.toml.

A place is an (x, y) of NoC0, from the top left corner. NoC1 counts from the bottom right one.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any

from .errors import InvalidArgument

Xy = tuple[int, int]
"""A core's (x, y): column and row."""


class CoreKind(Enum):
    """What a tile of the die does."""

    TENSIX = "tensix"
    ETH = "eth"
    DRAM = "dram"
    PCIE = "pcie"
    ARC = "arc"
    SECURITY = "security"
    L2CPU = "l2cpu"
    ROUTER = "router"  # only passes packets on


@dataclass(frozen=True, slots=True)
class DramView:
    """A bank as allocators see it, and the port by which a core reaches it on each NoC."""

    channel: int
    ports: tuple[int, int]  # by NoC


@dataclass(frozen=True, slots=True)
class Grid:
    """The die of an architecture. All places are NoC0; tuples are in the order of masks."""

    arch: str
    columns: int
    rows: int
    tensix_x: tuple[int, ...]
    tensix_y: tuple[int, ...]
    fuse_order: tuple[int, ...]  # fuse bit -> x of the column (Blackhole), y of the row (Wormhole)
    eth: tuple[Xy, ...]  # by channel
    dram: tuple[tuple[Xy, ...], ...]  # by channel and port
    dram_views: tuple[DramView, ...]
    pcie: tuple[Xy, ...]
    arc: tuple[Xy, ...]
    security: tuple[Xy, ...]
    l2cpu: tuple[Xy, ...]

    @property
    def harvests_columns(self) -> bool:
        """Blackhole leaves off columns of Tensix cores, Wormhole rows."""
        return self.arch == "blackhole"

    @property
    def harvested_places(self) -> tuple[int, ...]:
        """The x of the columns, or the y of the rows, that a mask of Tensix cores speaks of."""
        return self.tensix_x if self.harvests_columns else self.tensix_y

    def kind(self, xy: Xy) -> CoreKind:
        """What is at a place.

        Raises:
            InvalidArgument: the place is not on the die; the nearest one is named.
        """
        nearest = self.clamp(xy)
        if nearest != xy:
            raise InvalidArgument(
                f"{xy} is not on the {self.columns}x{self.rows} grid of {self.arch}; "
                f"the nearest place is {nearest}"
            )
        return _kinds(self).get(xy, CoreKind.ROUTER)

    def places(self, kind: CoreKind) -> tuple[Xy, ...]:
        """Every place of a kind: Tensix and routers by row, DRAM by bank, others by index."""
        if kind is CoreKind.TENSIX:
            return tuple((x, y) for y in self.tensix_y for x in self.tensix_x)
        if kind is CoreKind.DRAM:
            return tuple(xy for ports in self.dram for xy in ports)
        if kind is CoreKind.ROUTER:
            return tuple(xy for xy in self.everywhere() if xy not in _kinds(self))
        found: tuple[Xy, ...] = getattr(self, kind.value)
        return found

    def everywhere(self) -> tuple[Xy, ...]:
        """Every place of the die, row by row."""
        return tuple((x, y) for y in range(self.rows) for x in range(self.columns))

    def clamp(self, xy: Xy) -> Xy:
        """The nearest place on the die."""
        return min(max(xy[0], 0), self.columns - 1), min(max(xy[1], 0), self.rows - 1)

    def other_noc(self, xy: Xy) -> Xy:
        """NoC1's name of a NoC0 place, and NoC0's of a NoC1 place: the same rule both ways."""
        return self.columns - 1 - xy[0], self.rows - 1 - xy[1]

    def fuse_mask(self, fuses: int) -> int:
        """A mask by ascending x or y from a mask by fuse bits."""
        places = sorted(self.fuse_order)
        bits = [places.index(at) for bit, at in enumerate(self.fuse_order) if fuses >> bit & 1]
        return sum(1 << bit for bit in bits)


@cache
def load_grid(arch: str) -> Grid:
    """The die of an architecture: "blackhole" or "wormhole_b0".

    Raises:
        InvalidArgument: there is no such architecture in data/grids.toml.
    """
    tables = grid_tables()
    if arch == "harvesting" or arch not in tables:
        known = ", ".join(name for name in tables if name != "harvesting")
        raise InvalidArgument(f"unknown architecture {arch!r}. Known: {known}.")
    table = tables[arch]
    lists = {name: _frozen(entry["list"]) for name, entry in table.items() if "list" in entry}
    views = tuple(DramView(channel, (noc0, noc1)) for channel, noc0, noc1 in lists["dram_views"])
    return Grid(
        arch=arch,
        columns=table["columns"]["value"],
        rows=table["rows"]["value"],
        **(lists | {"dram_views": views}),
    )


@cache
def grid_tables() -> Mapping[str, Any]:
    """data/grids.toml."""
    tables: Mapping[str, Any] = tomllib.loads(
        (files(__package__) / "data" / "grids.toml").read_text()
    )
    return tables


@cache
def _kinds(grid: Grid) -> Mapping[Xy, CoreKind]:
    kinds = (kind for kind in CoreKind if kind is not CoreKind.ROUTER)
    return {xy: kind for kind in kinds for xy in grid.places(kind)}


def _frozen(entry: Any) -> Any:
    return tuple(_frozen(part) for part in entry) if isinstance(entry, list) else entry
