"""Boxes: which chips there are, and which links join them.

A box is data (fabric/data/boxes.toml). Ranks follow the mesh, row by row: rank = row * columns +
column; `chip_ids` says which chip of the vendor's numbering sits at a rank.
"""

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from types import MappingProxyType
from typing import Any

from ..chip.spec import Constant
from . import cycles
from .errors import UnknownBox, UnknownRank
from .link import LinkSpec

ROW_AXIS, COLUMN_AXIS = 0, 1  # axis 0 goes down the rows, axis 1 along the columns


@dataclass(frozen=True, slots=True, order=True)
class Edge:
    """Two neighbouring chips (a < b) and the number of links between them."""

    a: int
    b: int
    num_links: int
    rate: float = 1.0  # of these links, as a share of what the box's LinkSpec says


@dataclass(frozen=True)
class Box:
    """A system of chips: its mesh, its edges, its links and the boards that carry the chips."""

    name: str
    title: str
    product: str  # a chip of chip/data/products.toml
    shape: tuple[int, int]  # rows, columns
    edges: tuple[Edge, ...]
    link: LinkSpec
    links_per_edge: Constant
    wrap: tuple[bool, bool]  # per axis: the last chip joins the first
    boards: tuple[tuple[int, ...], ...]  # ranks that share a card or tray: placed together
    chip_ids: tuple[int, ...]  # rank -> chip id in the vendor's cluster descriptor
    aliases: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        ranks = set(range(self.num_chips))
        placed = [rank for board in self.boards for rank in board]
        if sorted(placed) != sorted(ranks):
            raise ValueError(f"{self.name}: boards (={self.boards}) must hold each rank once")
        if sorted(self.chip_ids) != sorted(ranks):
            raise ValueError(f"{self.name}: chip_ids (={self.chip_ids}) must be a permutation")
        if any(not (edge.a < edge.b and {edge.a, edge.b} <= ranks) for edge in self.edges):
            raise ValueError(f"{self.name}: edges (={self.edges}) must join two ranks, a < b")

    def __hash__(self) -> int:
        return hash(self.name)  # a box is the key of every cached route: keep it cheap

    @property
    def num_chips(self) -> int:
        """Number of chips: rows times columns."""
        return self.shape[0] * self.shape[1]

    @cached_property
    def is_grid(self) -> bool:
        """Are the edges exactly those of the mesh (with its wraps)?"""
        return {(e.a, e.b) for e in self.edges} == set(grid_edges(self.shape, self.wrap))

    def coords(self, rank: int) -> tuple[int, int]:
        """Row and column of a rank."""
        self._check(rank, "coords")
        return divmod(rank, self.shape[1])

    def rank_at(self, coords: tuple[int, int]) -> int:
        """Rank of the chip at a row and column."""
        row, column = coords
        if not (0 <= row < self.shape[0] and 0 <= column < self.shape[1]):
            raise ValueError(f"coords (={coords}) must be inside the {self.shape} mesh")
        return row * self.shape[1] + column

    def neighbours(self, rank: int) -> tuple[int, ...]:
        """Ranks one link away, ascending."""
        self._check(rank, "neighbours")
        return self._neighbours[rank]

    def num_links(self, src: int, dst: int) -> int:
        """Links between two chips; 0 when they are not neighbours."""
        return self._links.get((src, dst), 0)

    def rate(self, src: int, dst: int) -> float:
        """The rate of the links between two neighbours, as a share of the box's; 1 is all of it."""
        return self._slow.get((min(src, dst), max(src, dst)), 1.0)

    def axis_groups(self, axis: int) -> tuple[tuple[int, ...], ...]:
        """The groups of ranks that differ in one axis only: axis 0 the columns, axis 1 the rows.

        Example: axis_groups(1) of a 2x2 mesh is ((0, 1), (2, 3)).
        """
        rows, columns = self.shape
        if axis == ROW_AXIS:
            return tuple(tuple(range(c, rows * columns, columns)) for c in range(columns))
        if axis == COLUMN_AXIS:
            return tuple(tuple(range(r * columns, (r + 1) * columns)) for r in range(rows))
        raise ValueError(f"axis (={axis}) must be 0 (down the rows) or 1 (along the columns)")

    def ring(self, ranks: Sequence[int]) -> tuple[int, ...] | None:
        """An order of the ranks in which neighbours are adjacent and the last joins the first.

        Starts at the lowest rank and goes to its lower neighbour first; two adjacent chips are a
        ring of two. None when there is no such order.
        """
        return cycles.ring(self, self._group(ranks))

    def line(self, ranks: Sequence[int]) -> tuple[int, ...]:
        """A path through the ranks over adjacent chips, or rank order when there is none."""
        return cycles.line(self, self._group(ranks))

    @cached_property
    def _links(self) -> dict[tuple[int, int], int]:
        forward = {(e.a, e.b): e.num_links for e in self.edges}
        return forward | {(b, a): n for (a, b), n in forward.items()}

    @cached_property
    def _slow(self) -> dict[tuple[int, int], float]:
        return {(e.a, e.b): e.rate for e in self.edges if e.rate != 1}

    @cached_property
    def _neighbours(self) -> tuple[tuple[int, ...], ...]:
        return tuple(
            tuple(sorted(b for a, b in self._links if a == rank)) for rank in range(self.num_chips)
        )

    def _check(self, rank: int, where: str) -> None:
        if not 0 <= rank < self.num_chips:
            raise UnknownRank(rank, self.num_chips, f"{where} of {self.name}")

    def _group(self, ranks: Sequence[int]) -> tuple[int, ...]:
        if not ranks or len(set(ranks)) != len(ranks):
            raise ValueError(f"ranks (={tuple(ranks)}) must be distinct, at least one")
        for rank in ranks:
            self._check(rank, "group")
        return tuple(sorted(ranks))


def grid_edges(
    shape: tuple[int, int], wrap: tuple[bool, bool] = (False, False)
) -> list[tuple[int, int]]:
    """Pairs (a < b) of neighbours in a mesh; a wrap adds last-first on axes longer than two."""
    rows, columns = shape
    pairs = set()
    for rank in range(rows * columns):
        row, column = divmod(rank, columns)
        if row + 1 < rows or (wrap[0] and rows > 2):
            pairs.add((rank, (row + 1) % rows * columns + column))
        if column + 1 < columns or (wrap[1] and columns > 2):
            pairs.add((rank, row * columns + (column + 1) % columns))
    return sorted((min(pair), max(pair)) for pair in pairs)


@cache
def boxes() -> Mapping[str, Box]:
    """Every known box, by name."""
    text = resources.files(__package__).joinpath("data/boxes.toml").read_text("utf-8")
    data = tomllib.loads(text)
    links = {name: _link(name, entry) for name, entry in data["links"].items()}
    return MappingProxyType({n: _box(n, entry, links) for n, entry in data["boxes"].items()})


def load_box(name: str) -> Box:
    """The box of that name or alias; case, '-', '_' and spaces do not matter.

    Raises:
        UnknownBox: no such box; carries the nearest name.
    """
    names = _names()
    found = names.get(_plain(name))
    if found is not None:
        return boxes()[found]
    listed = {_plain(box): box for box in boxes()}
    for known, cutoff in ((listed, 0.6), (names, 0.0)):  # an alias, where no listed name is near
        if close := difflib.get_close_matches(_plain(name), known, n=1, cutoff=cutoff):
            break
    raise UnknownBox(name, known[close[0]] if close else None, tuple(boxes()))


@cache
def _names() -> Mapping[str, str]:
    plain = {_plain(box.name): box.name for box in boxes().values()}
    return {_plain(a): box.name for box in boxes().values() for a in box.aliases} | plain


def _plain(name: str) -> str:
    return name.casefold().translate({ord(c): None for c in "-_ "})


def _link(name: str, entry: Mapping[str, Mapping[str, Any]]) -> LinkSpec:
    return LinkSpec(name, **{key: Constant(**value) for key, value in entry.items()})


def _box(name: str, entry: Mapping[str, Any], links: Mapping[str, LinkSpec]) -> Box:
    rows, columns = entry["shape"]
    num_chips = rows * columns
    wrap = tuple(entry.get("wrap", (False, False)))
    chip_ids = tuple(entry.get("chip_ids", range(num_chips)))
    links_per_edge = Constant(**entry["links_per_edge"])
    pairs = entry.get("edges", [])
    if pairs == "grid":
        pairs = grid_edges((rows, columns), wrap)
    in_ranks = sorted(tuple(sorted((chip_ids.index(a), chip_ids.index(b)))) for a, b in pairs)
    return Box(
        name=name,
        title=entry["title"],
        product=entry["product"],
        shape=(rows, columns),
        edges=tuple(Edge(a, b, int(links_per_edge.value)) for a, b in in_ranks),
        link=links[entry["link"]],
        links_per_edge=links_per_edge,
        wrap=wrap,
        boards=tuple(tuple(board) for board in entry["boards"]),
        chip_ids=chip_ids,
        aliases=tuple(entry.get("aliases", ())),
    )
