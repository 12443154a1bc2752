"""The grid of a chip with the traffic on its links, as text for a terminal."""

from collections.abc import Iterable

from rich.text import Text

from ..chip.grid import CoreKind
from ..chip.harvesting import Core
from ..chip.noc import Link, Noc, Transfer, traffic

LETTERS = {
    CoreKind.TENSIX: ("w", "bold"),
    CoreKind.ETH: ("E", "green"),
    CoreKind.DRAM: ("D", "bold cyan"),
    CoreKind.PCIE: ("P", "magenta"),
    CoreKind.ARC: ("A", "magenta"),
    CoreKind.SECURITY: ("S", "magenta"),
    CoreKind.L2CPU: ("L", "magenta"),
    CoreKind.ROUTER: ("+", "dim"),
}
LEVELS = (("  ", " ", ""), ("╌╌", "╎", "green"), ("──", "│", "yellow"), ("━━", "┃", "bold red"))
"""A link along x and along y: without traffic, and up to 1/3, 2/3 and all of the busiest."""
LEGEND = (
    "w worker, t other Tensix core (dispatch, idle), D0 port of DRAM channel 0, E Ethernet,\n"
    "P PCIe, A ARC, S security, L L2CPU, + router only, x harvested; [reverse]sends[/reverse], "
    "[underline]receives[/underline]\n"
    "links: ╌ ─ ━ carry up to 1/3, 2/3 and all of the bytes of the busiest; edges wrap around\n"
)


def drawn_text(noc: Noc, index: int, transfers: Iterable[Transfer]) -> Text:
    """The grid in NoC0 coordinates: a line of cores, then a line of the links below them."""
    transfers = list(transfers)
    grid, loads = noc.grid, traffic(transfers)
    senders = {transfer.src for transfer in transfers}
    receivers = {dst for transfer in transfers for dst in transfer.dsts}
    text = Text("   " + "".join(f"{x:<4}" for x in range(grid.columns)) + "\n")
    for y in range(grid.rows):
        text.append(f"{y:>2} ")
        below = Text("   ")
        for x in range(grid.columns):
            core = noc.floorplan.find((x, y))
            letter, style = _cell(noc, core)
            marks = " reverse" * (core.noc0 in senders) + " underline" * (core.noc0 in receivers)
            text.append(letter, style + marks)
            text.append(" " * (2 - len(letter)))
            right, down = _links(noc, index, x, y)
            along, style = _level(loads, right)
            text.append(LEVELS[along][0], style)
            along, style = _level(loads, down)
            below.append(LEVELS[along][1] + "   ", style)
        text.append("\n")
        text.append_text(below)
        text.append("\n")
    return text


def _cell(noc: Noc, core: Core) -> tuple[str, str]:
    if core.is_harvested:
        return "x", "dim"
    letter, style = LETTERS[core.kind]
    if core.kind is CoreKind.DRAM and core.logical is not None:
        return f"{letter}{core.logical[0]}", style
    if core.kind is CoreKind.TENSIX and not noc.floorplan.is_worker(core):
        return "t", ""
    return letter, style


def _links(noc: Noc, index: int, x: int, y: int) -> tuple[Link, Link]:
    """The link drawn right of a core and the one drawn below it, of either NoC."""
    here = (x, y)
    right, below = ((x + 1) % noc.grid.columns, y), (x, (y + 1) % noc.grid.rows)
    if index == 0:
        return Link(0, here, right), Link(0, here, below)
    return Link(1, right, here), Link(1, below, here)


def _level(loads: dict[Link, int], link: Link) -> tuple[int, str]:
    load = loads.get(link, 0)
    level = -(-3 * load // max(loads.values())) if load else 0
    return level, LEVELS[level][2]
