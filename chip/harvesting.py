"""Which cores of a die a product has, and their names in four coordinate systems.

What is broken, or more than a product has, is off: whole columns (Blackhole) or rows (Wormhole) of
Tensix cores, Ethernet cores, a DRAM bank. The rest is compacted: logical coordinates count it from
0, translated ones give it the first of a fixed set of places, with what is off at the end. Source:
tt-umd 3ed9cb6d device/coordinates/{blackhole,wormhole}_coordinate_manager.cpp.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import TypeVar

from .errors import InvalidArgument, NoSuchCore
from .grid import CoreKind, Grid, Xy, grid_tables, load_grid
from .spec import ChipSpec, load_product
from .translation import translated

T = TypeVar("T")


class Coords(Enum):
    """A system of coordinates; `logical` counts each kind of core for itself."""

    NOC0 = "noc0"
    NOC1 = "noc1"
    LOGICAL = "logical"
    TRANSLATED = "translated"


@dataclass(frozen=True, slots=True)
class Harvesting:
    """What is off: bit i of a mask is the i-th Tensix column or row, channel, bank or tile."""

    tensix: int = 0
    eth: int = 0
    dram: int = 0
    pcie: int = 0

    def check(self, grid: Grid) -> None:
        """Refuse what no chip of the architecture can be.

        Raises:
            InvalidArgument: a mask has bits for cores that are not there, or too many or too few.
        """
        sizes = {
            "tensix": len(grid.harvested_places),
            "eth": len(grid.eth),
            "dram": len(grid.dram),
            "pcie": len(grid.pcie),
        }
        for name, size in sizes.items():
            mask = getattr(self, name)
            if not 0 <= mask < 1 << size:
                raise InvalidArgument(
                    f"{name} mask (={mask:#x}) of {grid.arch} must have bits 0 to {size - 1} only"
                )
        if self.tensix.bit_count() == sizes["tensix"]:
            raise InvalidArgument("a chip needs a column or row of Tensix cores")
        if grid.arch == "blackhole":
            if self.eth.bit_count() not in (2, sizes["eth"]):
                raise InvalidArgument(
                    f"eth mask (={self.eth:#x}) must leave off 2 cores of 14, or all of them"
                )
            if self.dram.bit_count() > 1:
                raise InvalidArgument(
                    f"dram mask (={self.dram:#x}) must leave off one bank at most"
                )
        elif self.eth or self.dram or self.pcie:
            raise InvalidArgument(f"only Tensix rows of {grid.arch} are harvested, not {self}")


@dataclass(frozen=True, slots=True)
class Core:
    """A tile and its names. `logical` is None of harvested cores and of routers."""

    kind: CoreKind
    noc0: Xy
    noc1: Xy
    logical: Xy | None
    translated: Xy

    @property
    def is_harvested(self) -> bool:
        """Off on this chip; its router still passes packets on."""
        return self.logical is None and self.kind is not CoreKind.ROUTER

    def name(self, system: Coords) -> Xy | None:
        """Its coordinates in a system."""
        found: Xy | None = getattr(self, system.value)
        return found


class Floorplan:
    """The cores of one chip: a die, what is harvested, and how many of the rest run ops.

    Args:
        grid: the die.
        harvesting: what is off.
        workers: logical columns and rows of Tensix cores that run ops; None is all of them.
    Raises:
        InvalidArgument: no chip of the architecture has these masks, or so many workers.
    """

    def __init__(self, grid: Grid, harvesting: Harvesting, workers: Xy | None = None) -> None:
        harvesting.check(grid)
        self.grid = grid
        self.harvesting = harvesting
        self.cores = tuple(_cores(grid, harvesting))
        tensix = [core.logical for core in self.cores_of(CoreKind.TENSIX) if core.logical]
        self.tensix = (max(x for x, _ in tensix) + 1, max(y for _, y in tensix) + 1)
        self.workers = workers or self.tensix
        if self.workers[0] > self.tensix[0] or self.workers[1] > self.tensix[1]:
            raise InvalidArgument(
                f"workers (={self.workers}) must fit the {self.tensix} cores left of {grid.arch}"
            )
        self._found = {
            (system, core.kind if system is Coords.LOGICAL else None, core.name(system)): core
            for core in self.cores
            for system in Coords
            if core.name(system) is not None
        }

    def cores_of(self, kind: CoreKind) -> list[Core]:
        """Every core of a kind, harvested or not, in the order of Grid.places."""
        return [core for core in self.cores if core.kind is kind]

    def find(self, xy: Xy, system: Coords = Coords.NOC0, kind: CoreKind | None = None) -> Core:
        """The core of that name. Logical coordinates need the kind; others may leave it open.

        Raises:
            NoSuchCore: there is none, or it is of another kind; the nearest legal one is named.
        """
        if system is Coords.LOGICAL and kind is None:
            raise InvalidArgument("logical coordinates count each kind of core: say which kind")
        core = self._found.get((system, kind if system is Coords.LOGICAL else None, xy))
        if core is not None and kind in (None, core.kind):
            return core
        legal = [core for core in self.cores if kind in (None, core.kind)]
        what = f"{kind.value if kind else 'any'} core in {system.value} coordinates"
        raise NoSuchCore(what, xy, _nearest(xy, (core.name(system) for core in legal)))

    def usable(self, xy: Xy) -> Core:
        """The core at a NoC0 place that can send and receive: no router, and not harvested.

        Raises:
            NoSuchCore: the nearest core that can is named.
        """
        core = self._found.get((Coords.NOC0, None, xy))
        if core is not None and core.logical is not None:
            return core
        legal = (core.noc0 for core in self.cores if core.logical is not None)
        raise NoSuchCore("usable core in noc0 coordinates", xy, _nearest(xy, legal))

    def worker(self, xy: Xy) -> Core:
        """The worker core of logical coordinates, (0, 0) to one less than `workers`.

        Raises:
            NoSuchCore: it is not in the worker grid; the nearest worker is named.
        """
        nearest = tuple(
            min(max(at, 0), size - 1) for at, size in zip(xy, self.workers, strict=True)
        )
        if nearest != xy:
            raise NoSuchCore("worker core in logical coordinates", xy, (nearest[0], nearest[1]))
        return self.find(xy, Coords.LOGICAL, CoreKind.TENSIX)

    def worker_cores(self) -> list[Core]:
        """All workers, row by row."""
        columns, rows = self.workers
        return [self.worker((x, y)) for y in range(rows) for x in range(columns)]

    def is_worker(self, core: Core) -> bool:
        """Whether a core runs ops: Tensix cores beside the worker grid dispatch, or idle."""
        if core.kind is not CoreKind.TENSIX or core.logical is None:
            return False
        return core.logical[0] < self.workers[0] and core.logical[1] < self.workers[1]

    def dram_port(self, bank: int, noc: int) -> Core:
        """The core through which workers reach a bank on a NoC; banks as allocators count them.

        Raises:
            InvalidArgument: the chip has no such bank.
        """
        views = [v for v in self.grid.dram_views if not self.harvesting.dram >> v.channel & 1]
        if not 0 <= bank < len(views):
            raise InvalidArgument(
                f"bank (={bank}) must be in 0..{len(views) - 1}; the nearest is "
                f"{min(max(bank, 0), len(views) - 1)}"
            )
        view = views[bank]
        return self.find(self.grid.dram[view.channel][view.ports[noc]])


@cache
def load_floorplan(product: str) -> Floorplan:
    """The floorplan of a product, by name or alias.

    Raises:
        UnknownProduct: no product has that name; the nearest one is named.
    """
    return floorplan_of(load_product(product))


def floorplan_of(spec: ChipSpec) -> Floorplan:
    """The floorplan of a chip; which column, row or bank is off is the default of its product."""
    masks = grid_tables()["harvesting"][spec.name]
    harvesting = Harvesting(**{name: int(mask["value"]) for name, mask in masks.items()})
    return Floorplan(load_grid(spec.arch), harvesting, spec.grid)


def _cores(grid: Grid, harvesting: Harvesting) -> Iterator[Core]:
    logical = dict(_logical(grid, harvesting))
    names = translated(grid, logical)
    for kind in CoreKind:
        for xy in grid.places(kind):
            yield Core(kind, xy, grid.other_noc(xy), logical.get(xy), names.get(xy, xy))


def _logical(grid: Grid, harvesting: Harvesting) -> Iterator[tuple[Xy, Xy]]:
    """NoC0 places of what is left, with their logical coordinates."""
    left = _left(grid.harvested_places, harvesting.tensix)
    columns, rows = (left, grid.tensix_y) if grid.harvests_columns else (grid.tensix_x, left)
    for j, y in enumerate(rows):
        yield from (((x, y), (i, j)) for i, x in enumerate(columns))
    yield from ((xy, (0, i)) for i, xy in enumerate(_left(grid.eth, harvesting.eth)))
    for bank, ports in enumerate(_left(grid.dram, harvesting.dram)):
        yield from ((xy, (bank, port)) for port, xy in enumerate(ports))
    yield from ((xy, (i, 0)) for i, xy in enumerate(_left(grid.pcie, harvesting.pcie)))
    for singles in (grid.arc, grid.security, grid.l2cpu):
        yield from ((xy, (0, i)) for i, xy in enumerate(singles))


def _left(places: tuple[T, ...], mask: int) -> tuple[T, ...]:
    return tuple(at for bit, at in enumerate(places) if not mask >> bit & 1)


def _nearest(xy: Xy, legal: Iterable[Xy | None]) -> Xy:
    def distance(at: Xy) -> tuple[int, Xy]:
        return abs(at[0] - xy[0]) + abs(at[1] - xy[1]), at

    return min((at for at in legal if at is not None), key=distance)
