"""`meshtwin noc`: the grid of a chip, routes over its networks, and what transfers cost on them."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..chip.errors import MeshtwinError, UnknownProduct
from ..chip.noc import Noc, Transfer, traffic
from ..chip.noc.measured import residuals
from ..chip.noc.patterns import PATTERNS, pattern
from ..chip.noc.places import place, rectangle
from ..chip.spec import ChipSpec, load_product
from ..chip.units import PS_PER_NS, PS_PER_S
from . import arguments
from .noc_svg import DIRECTIONS, drawn_svg
from .noc_text import LEGEND, drawn_text
from .noc_values import values

DESCRIPTION = """\
Draw the cores of a chip, with the traffic of some transfers on every link, and say what each takes
in simulated time: alone, and with all of them starting together and sharing links, the ways in and
out of cores, and DRAM banks. Nothing runs, no chip is opened.

A chip has two networks (NoCs), each a torus with links in one direction. On NoC0 data goes right
and then down, on NoC1 up and then left. A request and its answer therefore go once around each axis
on which their cores differ: 29 hops on Blackhole, 17 in a row, 12 in a column. Distance does not
matter to one transfer; which links it shares with others does.

places     3,4 is NoC0 column 3, row 4; w0,0 a worker core as ops count them; d5 a DRAM bank
transfers  SRC->DST:BYTES, data going from SRC to DST; SRC->DST:BYTESxN makes N transactions, issued
           one after the other with one wait at the end. Quote them: the shell knows > too.
"""
WHO = "\n".join(f"  {name:14} {make.__doc__}" for name, make in PATTERNS.items())
EPILOG = f"""\
patterns, of --transactions transactions of --bytes each:
{WHO}

examples:
  meshtwin noc --product galaxy
  meshtwin noc --read "d0->w0,0:16Kx8" --read "d4->w1,0:16Kx8"
  meshtwin noc --multicast "w0,0->w0,0..w7,3:4K"
  meshtwin noc --pattern adjacent --transactions 64
  meshtwin noc --pattern all-from-dram --noc 1 --svg traffic.svg
  meshtwin noc --measured
"""
COLUMNS = ("transfer", "from", "to", "bytes", "N", "hops", "links", "alone ns", "done ns", "GB/s")
MOST_ROWS = 16
WIDTH = 120


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "noc",
        parents=[common],
        help="draw a chip's cores and networks; time transfers on them",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--product", type=product, default="p150",
        help="p100a, p150, p300c, galaxy, n150, n300, ... (%(default)s)",
    )  # fmt: skip
    for what, means in (
        ("read", "the core at DST reads from SRC"),
        ("write", "the core at SRC writes to DST"),
        ("multicast", "SRC writes to all Tensix cores of a rectangle: DST is w0,0..w3,3"),
    ):
        command.add_argument(
            f"--{what}", action="append", default=[], metavar="SRC->DST:BYTES", help=means
        )
    command.add_argument(
        "--pattern", type=arguments.one_of("pattern", tuple(PATTERNS)), help="see below"
    )
    command.add_argument(
        "--bytes", type=arguments.size, default="16K", metavar="SIZE",
        help="of a transaction of --pattern (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--transactions", type=arguments.at_least(1), default=1, metavar="N",
        help="of each transfer of --pattern (%(default)s)",
    )  # fmt: skip
    command.add_argument("--noc", type=int, choices=(0, 1), default=0, help="(%(default)s)")
    command.add_argument("--svg", metavar="FILE", help="also draw it into a file")
    command.add_argument(
        "--measured", action="store_true", help="print how the model meets silicon, and stop"
    )
    command.set_defaults(run=run, misuse=command.error)


def product(text: str) -> ChipSpec:
    """The chip of that product or alias."""
    try:
        return load_product(text)
    except UnknownProduct as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def run(args: argparse.Namespace) -> int:
    """Draw the chip and print the table, or with --json one object."""
    if args.measured:
        return _print_measured(args.json)
    noc = Noc(args.product)
    transfers = _transfers(args, noc)
    done = noc.together(transfers)
    if args.svg:
        svg = drawn_svg(noc, args.noc, transfers, _summary(transfers, done))
        Path(args.svg).write_text(svg, encoding="utf-8")
    if args.json:
        print(json.dumps(values(noc, args.noc, transfers, done), indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False, width=WIDTH)
    console.print(f"{noc.spec.title} ({noc.spec.name}), NoC{args.noc}: {DIRECTIONS[args.noc]}")
    console.print(drawn_text(noc, args.noc, transfers))
    console.print(LEGEND)
    if transfers:
        console.print(_table(transfers, done))
        for line in _summary(transfers, done):
            console.print(line)
    return 0


def _transfers(args: argparse.Namespace, noc: Noc) -> list[Transfer]:
    """Everything that the command line asks for, in order of its kinds."""
    found = []
    for what in ("read", "write", "multicast"):
        for text in getattr(args, what):
            try:
                found.append(_transfer(noc, what, text, args.noc))
            except (MeshtwinError, argparse.ArgumentTypeError) as error:
                args.misuse(f"--{what} {text}: {error}")
    if args.pattern:
        found += pattern(noc, args.pattern, args.bytes, args.transactions, args.noc)
    return found


def _transfer(noc: Noc, what: str, text: str, index: int) -> Transfer:
    parts = re.fullmatch(r"([^>]+)->([^:]+):([^x]+)(?:x(.+))?", text)
    if parts is None:
        raise argparse.ArgumentTypeError("write SRC->DST:BYTES or SRC->DST:BYTESxN")
    src = place(noc, parts[1], index)
    size, count = arguments.size(parts[3]), arguments.at_least(1)(parts[4] or "1")
    if what == "multicast":
        return noc.multicast(src, rectangle(noc, parts[2]), size, count, index)
    move = noc.read if what == "read" else noc.write
    return move(src, place(noc, parts[2], index), size, count, index)


def _table(transfers: list[Transfer], done: list[int]) -> Table:
    """The transfers that take longest."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in COLUMNS:
        left = title in ("transfer", "from", "to")
        table.add_column(title, justify="left" if left else "right", no_wrap=True)
    slowest = sorted(range(len(transfers)), key=lambda i: -done[i])[:MOST_ROWS]
    for i in sorted(slowest):
        transfer = transfers[i]
        table.add_row(
            transfer.what,
            _xy(transfer.src),
            _xy(transfer.dsts[0])
            + (f"..{_xy(transfer.dsts[-1])}" if len(transfer.dsts) > 1 else ""),
            str(transfer.transaction_bytes),
            str(transfer.num_transactions),
            str(transfer.hops),
            str(len(transfer.route)),
            f"{transfer.sim_latency_ps / PS_PER_NS:.1f}",
            f"{done[i] / PS_PER_NS:.1f}",
            f"{transfer.num_bytes * PS_PER_S / done[i] / 1e9:.2f}",
        )
    return table


def _summary(transfers: list[Transfer], done: list[int]) -> list[str]:
    """What all transfers come to."""
    if not transfers:
        return []
    total = sum(transfer.num_bytes for transfer in transfers)
    lines = [
        f"{len(transfers)} transfer{'s'[: len(transfers) > 1]} of {total} bytes in all, done at "
        f"{max(done) / PS_PER_NS:.1f} ns (simulated): {total * PS_PER_S / max(done) / 1e9:.1f} GB/s"
    ]
    if len(transfers) > MOST_ROWS:
        lines.append(f"The {MOST_ROWS} slowest are listed; --json has them all.")
    loads = traffic(transfers)
    if loads:
        link = max(loads, key=lambda at: loads[at])
        users = sum(link in transfer.route for transfer in transfers)
        lines.append(
            f"busiest link: {_xy(link.src)}->{_xy(link.dst)}, {loads[link]} bytes of {users} "
            f"transfer{'s'[: users > 1]}"
        )
    return lines


def _print_measured(as_json: bool) -> int:
    """The model against rows measured on silicon, by kind."""
    found = residuals()
    if as_json:
        names = ("arch", "group", "num_rows", "mean", "least", "most")
        print(json.dumps([{name: getattr(r, name) for name in names} for r in found], indent=2))
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("architecture", "measured", "rows", "mean error", "least", "most"):
        left = title in ("architecture", "measured")
        table.add_column(title, justify="left" if left else "right", no_wrap=True)
    for r in found:
        table.add_row(
            r.arch, r.group, str(r.num_rows), f"{r.mean:.1%}", f"{r.least:+.1%}", f"{r.most:+.1%}"
        )
    console = Console(soft_wrap=True, highlight=False, width=WIDTH)
    console.print(table)
    console.print("error: (model - measured) / measured; sources: chip/data/noc_measured.csv")
    return 0


def _xy(xy: tuple[int, int]) -> str:
    return f"{xy[0]},{xy[1]}"
