"""The grid of a chip with the traffic on its links, as a self-contained SVG picture."""

from collections.abc import Iterator, Sequence
from html import escape

from ..chip.grid import CoreKind, Xy
from ..chip.harvesting import Core
from ..chip.noc import Link, Noc, Transfer, traffic

PITCH, TILE, LEFT, TOP = 64, 40, 56, 92
"""Pixels from tile to tile, across a tile, and from the picture's edges to the first tile."""
COLOURS = {
    "worker": "#dbe8fb", "other Tensix": "#b9cdf0", "DRAM": "#fde9a9", "Ethernet": "#cdeccb",
    "PCIe": "#f6cfe3", "ARC": "#e2d3f3", "security": "#e2d3f3", "L2CPU": "#e2d3f3",
    "router only": "#f4f5f7", "harvested": "#d9dbe0",
}  # fmt: skip
NAMES = {
    CoreKind.ETH: "Ethernet", CoreKind.DRAM: "DRAM", CoreKind.PCIE: "PCIe", CoreKind.ARC: "ARC",
    CoreKind.SECURITY: "security", CoreKind.L2CPU: "L2CPU", CoreKind.ROUTER: "router only",
}  # fmt: skip
DIRECTIONS = ("right, then down", "up, then left")
STYLE = """\
text{font-family:system-ui,sans-serif;font-size:11px;fill:#2b3038;text-anchor:middle}
.axis{fill:#8a919c}.title{font-size:17px;font-weight:600;text-anchor:start}
.note{font-size:12px;text-anchor:start;fill:#555c67}
.tile{stroke:#a3aab5;stroke-width:1}.src{stroke:#1b4fd1;stroke-width:3}
.dst{stroke:#c2410c;stroke-width:3}.both{stroke:#7e22ce;stroke-width:3}
.idle{stroke:#e3e5e9;stroke-width:1}"""


def drawn_svg(noc: Noc, index: int, transfers: Sequence[Transfer], notes: Sequence[str]) -> str:
    """The picture: tiles in NoC0 coordinates, links as wide and as red as they are loaded."""
    present = {_role(noc, core)[0] for core in noc.floorplan.cores}
    roles = [role for role in COLOURS if role in present]
    width = LEFT + noc.grid.columns * PITCH + 12
    legend = [*_roles(roles, width), *(_marks() if transfers else ())]
    bottom = TOP + noc.grid.rows * PITCH + 8
    height = bottom + 28 * len(legend) + 4
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f"<title>{escape(noc.spec.title)}</title>",
        f'<text class="title" x="20" y="30">{noc.spec.name}, NoC{index}: '
        f"{DIRECTIONS[index]}</text>",
    ]
    below = notes[0] if notes else "columns and rows of NoC0; workers by their logical x,y"
    head.append(f'<text class="note" x="20" y="50">{escape(below)}</text>')
    parts = [*head, *_axes(noc), *_links(noc, index, transfers), *_tiles(noc, transfers)]
    for i, line in enumerate(legend):
        parts.append(f'<g transform="translate(20 {bottom + 28 * i})">{line}</g>')
    return "\n".join([*parts, "</svg>\n"])


def _axes(noc: Noc) -> Iterator[str]:
    for x in range(noc.grid.columns):
        yield f'<text class="axis" x="{_middle((x, 0))[0]}" y="{TOP - 20}">{x}</text>'
    for y in range(noc.grid.rows):
        yield f'<text class="axis" x="{LEFT - 30}" y="{_middle((0, y))[1] + 4}">{y}</text>'


def _tiles(noc: Noc, transfers: Sequence[Transfer]) -> Iterator[str]:
    senders = {transfer.src for transfer in transfers}
    receivers = {dst for transfer in transfers for dst in transfer.dsts}
    for core in noc.floorplan.cores:
        x, y = _middle(core.noc0)
        role, label = _role(noc, core)
        ends = (core.noc0 in senders, core.noc0 in receivers)
        mark = {(True, True): " both", (True, False): " src", (False, True): " dst"}.get(ends, "")
        names = f"{role}, NoC0 {core.noc0}, NoC1 {core.noc1}, translated {core.translated}"
        yield (
            f'<rect class="tile{mark}" x="{x - TILE // 2}" y="{y - TILE // 2}" width="{TILE}" '
            f'height="{TILE}" rx="5" fill="{COLOURS[role]}"><title>{names}</title></rect>'
        )
        yield f'<text x="{x}" y="{y + 4}" pointer-events="none">{label}</text>'


def _role(noc: Noc, core: Core) -> tuple[str, str]:
    """What a tile is in the legend, and what is written on it."""
    if core.is_harvested:
        return "harvested", "x"
    if core.kind is CoreKind.TENSIX and core.logical is not None:
        worker = noc.floorplan.is_worker(core)
        label = f"{core.logical[0]},{core.logical[1]}"
        return ("worker", label) if worker else ("other Tensix", "")
    role = NAMES[core.kind]
    place = core.logical or (0, 0)
    numbered = {CoreKind.DRAM: f"D{place[0]}", CoreKind.ETH: f"E{place[1]}"}
    written = {"PCIe": "PCIe", "ARC": "ARC", "security": "sec", "L2CPU": "L2"}
    return role, numbered.get(core.kind, written.get(role, ""))


def _links(noc: Noc, index: int, transfers: Sequence[Transfer]) -> Iterator[str]:
    """Every link of the NoC; the loaded ones over the others, the busiest last."""
    loads = traffic(transfers)
    busiest = max(loads.values(), default=1)
    step = 1 if index == 0 else -1
    links = [
        Link(index, (x, y), to)
        for x, y in noc.grid.everywhere()
        for to in (
            ((x + step) % noc.grid.columns, y),
            (x, (y + step) % noc.grid.rows),
        )
    ]
    for link in sorted(links, key=lambda link: loads.get(link, 0)):
        load = loads.get(link, 0)
        for start, end in _strokes(link, step):
            yield _stroke(start, end, load, busiest, f"{link.src} to {link.dst}: {load} bytes")


def _strokes(link: Link, step: int) -> list[tuple[Xy, Xy]]:
    """From tile edge to tile edge; around the edge of the die: a stub out, and a stub in."""
    dx, dy = (step, 0) if link.src[1] == link.dst[1] else (0, step)
    (ax, ay), (bx, by) = _middle(link.src), _middle(link.dst)
    half, gap = TILE // 2, PITCH - TILE
    out = (ax + dx * half, ay + dy * half)
    into = (bx - dx * half, by - dy * half)
    if (link.dst[0] - link.src[0], link.dst[1] - link.src[1]) == (dx, dy):
        return [(out, into)]
    stub = gap // 2
    return [
        (out, (out[0] + dx * stub, out[1] + dy * stub)),
        ((into[0] - dx * stub, into[1] - dy * stub), into),
    ]


def _stroke(start: Xy, end: Xy, load: int, busiest: int, title: str) -> str:
    line = f'x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}"'
    if not load:
        return f'<line class="idle" {line}/>'
    share = load / busiest
    return (
        f'<line {line} stroke="{heat(share)}" stroke-width="{2 + 7 * share:.1f}">'
        f"<title>{title}</title></line>"
    )


def heat(share: float) -> str:
    """A colour from pale orange to dark red, for 0 to 1."""
    pale, dark = (251, 191, 120), (176, 12, 32)
    mixed = (round(a + (b - a) * share) for a, b in zip(pale, dark, strict=True))
    return "#" + "".join(f"{part:02x}" for part in mixed)


def _roles(roles: Sequence[str], width: int) -> list[str]:
    """Lines of the legend for kinds of tiles, as many to a line as there is room for."""
    room = (width - 20) // 110
    boxes = [("", COLOURS[role], role) for role in roles]
    return [_boxes(boxes[i : i + room]) for i in range(0, len(boxes), room)]


def _marks() -> list[str]:
    """The line of the legend for frames and for the colours of links."""
    white = "#ffffff"
    frames = [(" src", white, "sends"), (" dst", white, "receives"), (" both", white, "does both")]
    bar = "".join(
        f'<rect x="{340 + 6 * i}" y="0" width="6" height="16" fill="{heat(i / 19)}"/>'
        for i in range(20)
    )
    note = '<text class="note" x="468" y="13">bytes on a link, to the most</text>'
    return [_boxes(frames) + bar + note]


def _boxes(boxes: Sequence[tuple[str, str, str]]) -> str:
    return "".join(
        f'<rect class="tile{mark}" x="{110 * i}" y="0" width="16" height="16" rx="3" '
        f'fill="{colour}"/><text class="note" x="{110 * i + 22}" y="13">{escape(text)}</text>'
        for i, (mark, colour, text) in enumerate(boxes)
    )


def _middle(xy: Xy) -> Xy:
    return LEFT + xy[0] * PITCH + PITCH // 2 - 12, TOP + xy[1] * PITCH + PITCH // 2 - 12
