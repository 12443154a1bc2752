"""Pictures of a chip's memory: a bar of text for the terminal, and a file of SVG.

One bar is one bank of DRAM, or the L1 of one core; all banks are alike. Labels that differ only in
the number of a layer are one holder.
"""

from html import escape

from ..chip.errors import human_bytes
from ..chip.memory.banks import group_of_layers, layers_together
from ..chip.memory.report import BankReport, Block, MemoryReport

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FREE, RESERVED, OTHER = ".", "#", "*"
COLOURS = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#eeca3b", "#b279a2", "#ff9da6",
    "#9d755d", "#7f7f7f", "#1f9e89", "#8c6bb1",
)  # fmt: skip
DARK = "#444444"
"""What firmware and kernels keep for themselves."""
WIDTH, BAR, ROW = 1000, 44, 18  # of the picture, of a bar and of a line of text, in pixels


def extent(report: BankReport) -> int:
    """Where a bar of a bank ends: at its end, or where less than a quarter is used, after that.

    A power of two of bytes in the second case.
    """
    used = max((b.address + b.nbytes for b in report.blocks if not b.is_free), default=0)
    if not 0 < 4 * used < report.bank_bytes:
        return report.bank_bytes
    return 1 << used.bit_length()


def text_bar(report: BankReport, width: int) -> str:
    """`width` characters from address 0 up, each the letter of what holds most of its part.

    The largest holder is A, the next B; "." is free, "#" reserved, "*" any holder beyond z.
    """
    names = [name for name, _ in layers_together(report.holders)]
    letters = dict(zip(names, LETTERS, strict=False))
    pieces = [(0, report.reserved_bytes, RESERVED)]
    for block in report.blocks:
        letter = FREE if block.is_free else letters.get(group_of_layers(block.what), OTHER)
        pieces.append((block.address, block.address + block.nbytes, letter))
    cells, last_address = [], extent(report)
    for cell in range(width):
        start, end = cell * last_address // width, (cell + 1) * last_address // width
        share: dict[str, int] = {}
        for first, last, letter in pieces:
            overlap = min(last, end) - max(first, start)
            if overlap > 0:
                share[letter] = share.get(letter, 0) + overlap
        cells.append(max(share, key=lambda letter: share[letter]) if share else FREE)
    return "".join(cells)


def svg(report: MemoryReport) -> str:
    """The whole picture as a self-contained SVG file: a bar and a legend for each memory."""
    parts: list[str] = []
    y = 30
    for bank in (report.dram, report.l1):
        piece, y = _bank_svg(bank, y)
        parts += piece
    title = f"Memory of chip {report.chip} ({report.product})"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
            f'viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="12">',
            f"<title>{escape(title)}</title>",
            f'<rect width="{WIDTH}" height="{y}" fill="white"/>',
            f'<text x="10" y="20" font-size="15">{escape(title)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def _bank_svg(report: BankReport, y: int) -> tuple[list[str], int]:
    """The lines of one memory drawn from `y` down, and where it ends."""
    found = layers_together(report.holders)
    colours = {name: COLOURS[i % len(COLOURS)] for i, (name, _) in enumerate(found)}
    unit = "banks" if report.buffer == "DRAM" else "cores"
    words = (
        f"{report.buffer}: one of {report.num_banks} {unit}, all alike: "
        f"{human_bytes(report.used_bytes)} used, {human_bytes(report.free_bytes)} free, "
        f"peak {human_bytes(report.peak_bytes)}; drawn are the first {human_bytes(extent(report))}"
    )
    parts = [f'<text x="10" y="{y + 14}">{escape(words)}</text>']
    y += ROW + 4
    last_address = extent(report)
    scale = (WIDTH - 20) / last_address
    reserved = Block(0, report.reserved_bytes, "reserved")
    for block in (reserved, *report.blocks):
        width = min(block.address + block.nbytes, last_address) - block.address
        fill = "#f4f4f4" if block.is_free else colours.get(group_of_layers(block.what), DARK)
        label = (
            f"{block.what or 'free'}: {human_bytes(block.nbytes)} at {block.address} "
            f"({block.address:#x})"
        )
        parts.append(
            f'<rect x="{10 + block.address * scale:.2f}" y="{y}" '
            f'width="{width * scale:.2f}" height="{BAR}" fill="{fill}" stroke="#ffffff" '
            f'stroke-width="0.3"><title>{escape(label)}</title></rect>'
        )
    y += BAR + 4
    for name, size in (*found, ("reserved", report.reserved_bytes)):
        fill = colours.get(name, DARK)
        parts.append(f'<rect x="10" y="{y + 4}" width="10" height="10" fill="{fill}"/>')
        words = f"{name}  {human_bytes(size)} a {unit.removesuffix('s')}"
        parts.append(f'<text x="26" y="{y + 13}">{escape(words)}</text>')
        y += ROW
    return parts, y + ROW
