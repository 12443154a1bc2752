"""`meshtwin boxes`: the boxes that can be opened, with their chips, shape and links."""

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from ..chip.spec import load_product
from ..fabric.topology import Box, boxes


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "boxes",
        parents=[common],
        help="list the boxes: chips, mesh shape, links and their rates",
        description=(
            "List the boxes that --box and open_mesh know. Rates are of the emulated hardware, "
            "for one link and one direction; links are those between two neighbouring chips."
        ),
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table, or with --json a list of objects."""
    rows = [describe(box) for box in boxes().values()]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("box", "chips", "shape", "chip", "DRAM", "links", "GB/s", "data"):
        number = title in ("chips", "DRAM", "links", "GB/s", "data")
        table.add_column(title, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            row["name"],
            str(row["num_chips"]),
            "x".join(map(str, row["shape"])),
            row["product"],
            f"{row['dram_bytes_per_chip'] / 1e9:.1f}",
            str(row["links_per_edge"]) if row["num_edges"] else "-",
            f"{row['link_bytes_per_s'] / 1e9:.1f}" if row["num_edges"] else "-",
            f"{row['link_data_bytes_per_s'] / 1e9:.1f}" if row["num_edges"] else "-",
        )
    console = Console()
    console.print(table)
    console.print()
    console.print("DRAM: GB a chip. links: between two neighbours. GB/s: line rate of one link,")
    console.print("one direction; data: what it carries of payload, by framing and packet rate.")
    return 0


def describe(box: Box) -> dict[str, Any]:
    """What a box is, as plain values; rates in bytes/s for one link and direction."""
    product = load_product(box.product)
    return {
        "name": box.name,
        "title": box.title,
        "aliases": list(box.aliases),
        "num_chips": box.num_chips,
        "shape": list(box.shape),
        "product": box.product,
        "dram_bytes_per_chip": product.dram_capacity_bytes,
        "num_edges": len(box.edges),
        "links_per_edge": int(box.links_per_edge.value),
        "link_bytes_per_s": int(box.link.line_rate.value),
        "link_data_bytes_per_s": box.link.bytes_per_s,
        "boards": [list(board) for board in box.boards],
        "ring": list(box.ring(range(box.num_chips)) or []),
    }
