"""`meshtwin explain`: what each algorithm of a collective costs on a box, and which is chosen."""

import argparse
import json
import runpy
from typing import Any

from rich.console import Console
from rich.table import Table

from ..collectives.algorithm import Algorithm, register
from ..collectives.bench import COLLECTIVES, shape_of, whole_count
from ..collectives.call import Call
from ..collectives.errors import CollectiveError
from ..collectives.explain import Explanation, drawing, explain, reason
from ..collectives.group import group_of
from ..collectives.operation import Operation
from ..collectives.request import wire_of
from . import arguments

DESCRIPTION = """\
Say which algorithm a collective takes on a box, and why: every registered algorithm is planned,
verified (each contribution arrives exactly once, nothing is read before it has come, no circle of
packets waiting for buffers) and timed on the simulated links. Nothing runs, no chip is opened.

  sim_us        simulated time from all chips entering together to the last one being done
  busbw         bus bandwidth in GB/s, as `meshtwin bench` has it
  rounds        steps that follow one another; messages: chunks from one chip to another in a round
  hops          of the longest route; vcs: virtual channels that its packets need
  busiest       the link direction that carries most, what it carries, and how much of the time it
                is busy
"""
EPILOG = """\
examples:
  meshtwin explain all_reduce --box galaxy --bytes 1M
  meshtwin explain all_gather --box galaxy --axis col --bytes 64K --draw ring
  meshtwin explain all_reduce --box galaxy --axis col --wire-dtype bfp8_b
  meshtwin explain broadcast --load my_algorithms.py
"""
COLUMNS = (
    "algorithm", "sim_us", "busbw", "rounds", "messages", "hops", "vcs", "busiest", "kB", "busy",
)  # fmt: skip

WIDTH = 120
"""What the table may take: on a narrow terminal, or a pipe, no number is cut short."""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "explain",
        parents=[common],
        help="which algorithm a collective takes on a box, and why",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = tuple(known.label for known in Operation)
    command.add_argument(
        "collective", type=arguments.one_of("collective", names), help=", ".join(names)
    )
    command.add_argument(
        "--box", type=arguments.box, default="quietbox2", help="see `meshtwin boxes` (%(default)s)"
    )
    command.add_argument(
        "--bytes", type=arguments.size, default="1M", metavar="SIZE",
        help="of the whole tensor, as in `meshtwin bench` (%(default)s)",
    )  # fmt: skip
    command.add_argument("--dtype", type=arguments.dtype, default="bfloat16", help="(%(default)s)")
    command.add_argument(
        "--wire-dtype", type=arguments.any_dtype,
        help="in which values travel, such as bfp8_b (that of the tensor)",
    )  # fmt: skip
    command.add_argument(
        "--axis", type=arguments.axis, help="row or col: the first group along it (all chips)"
    )
    command.add_argument(
        "--root", type=arguments.at_least(0), default=0, metavar="N",
        help="position of the root in the group, from 0 (%(default)s)",
    )  # fmt: skip
    command.add_argument("--draw", metavar="ALGORITHM", help="also print its rounds")
    command.add_argument(
        "--load", metavar="FILE.py", help="register the algorithms that this file defines, too"
    )
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Print the table and the reason, or with --json one object."""
    if args.load:
        load(args.load)
    call = call_of(args)
    choices = explain(args.box, call)
    if args.draw and args.draw not in {choice.algorithm for choice in choices}:
        known = ", ".join(choice.algorithm for choice in choices)
        args.misuse(f"--draw {args.draw}: no such algorithm of {args.collective}; known: {known}")
    chosen = next((choice for choice in choices if choice.algorithm == args.draw), None)
    drawn = drawing(chosen.plan) if chosen is not None and chosen.plan is not None else []
    if args.json:
        answer = {
            "box": args.box.name,
            "call": call.text,
            "num_ranks": len(call.ranks),
            "reason": reason(choices),
            "algorithms": [values(choice, args) for choice in choices],
        }
        print(json.dumps(answer | ({"drawing": drawn} if drawn else {}), indent=2))
        return 0
    _print(args, call, choices)
    for line in drawn:
        print(line)
    return 0


def load(path: str) -> None:
    """Register every Algorithm that a Python file defines."""
    for value in runpy.run_path(path).values():
        if isinstance(value, Algorithm):
            register(value)


def call_of(args: argparse.Namespace) -> Call:
    """The call that the arguments describe: a tensor of one dim (block floats: rows of 16)."""
    operation = Operation(args.collective)
    group = group_of(args.box, 0, args.axis)
    if args.root >= len(group.ranks):
        args.misuse(
            f"--root {args.root} is not in a group of {len(group.ranks)} chips; "
            f"the nearest is {len(group.ranks) - 1}"
        )
    wire = None
    try:
        if args.wire_dtype is not None:
            wire = wire_of(args.wire_dtype, args.dtype)
    except CollectiveError as error:
        args.misuse(str(error))
    size = args.bytes
    if operation.joins and operation is not Operation.ALL_TO_ALL:
        size //= len(group.ranks)
    return Call(
        operation, shape_of(whole_count(size, 1, args.dtype), args.dtype), args.dtype, group.ranks,
        group.where, root=group.ranks[args.root], wire=wire,
    )  # fmt: skip


def values(choice: Explanation, args: argparse.Namespace) -> dict[str, Any]:
    """One algorithm as plain values; times in simulated picoseconds."""
    if choice.sim_ps is None:
        return {"algorithm": choice.algorithm, "why_not": choice.why_not}
    return {
        "algorithm": choice.algorithm,
        "sim_ps": choice.sim_ps,
        "sim_busbw_GB_per_s": _busbw(choice, args),
        "num_rounds": choice.num_rounds,
        "num_messages": choice.num_messages,
        "most_hops": choice.most_hops,
        "num_virtual_channels": choice.num_channels,
        "busiest_link": choice.busiest_link,
        "busiest_link_bytes": choice.busiest_link_bytes,
        "sim_busiest_link_ps": choice.sim_busiest_link_ps,
    }


def _busbw(choice: Explanation, args: argparse.Namespace) -> float:
    known = COLLECTIVES.get(args.collective)
    if known is None or not choice.sim_ps or choice.plan is None:
        return 0.0
    return float(known.bus_factor(choice.plan.num_ranks) * args.bytes / (choice.sim_ps / 1e3))


def _print(args: argparse.Namespace, call: Call, choices: list[Explanation]) -> None:
    console = Console(soft_wrap=True, highlight=False, width=WIDTH)
    console.print(f"{call.text} on {len(call.ranks)} chips of {args.box.name} (simulated)")
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in COLUMNS:
        table.add_column(title, justify="left" if title == "algorithm" else "right", no_wrap=True)
    for choice in choices:
        if choice.sim_ps is not None:
            table.add_row(*_cells(choice, args))
    console.print(table)
    for choice in choices:
        if choice.sim_ps is None:
            console.print(f"{choice.algorithm} cannot: {choice.why_not}")
    console.print(f"auto takes {reason(choices)}")


def _cells(choice: Explanation, args: argparse.Namespace) -> list[str]:
    link = choice.busiest_link
    share = 100 * choice.sim_busiest_link_ps / choice.sim_ps if choice.sim_ps else 0.0
    return [
        choice.algorithm,
        f"{(choice.sim_ps or 0) / 1e6:.2f}",
        f"{_busbw(choice, args):.2f}",
        str(choice.num_rounds),
        str(choice.num_messages),
        str(choice.most_hops),
        str(choice.num_channels),
        "-" if link is None else f"{link[0]}->{link[1]}",
        f"{choice.busiest_link_bytes / 1e3:.1f}",
        f"{share:.0f} %",
    ]
