"""`meshtwin search`: the best way of putting a model on a box, under limits."""

import argparse
import functools
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from . import arguments
from .experiments.evaluate import check
from .experiments.limits import Limit
from .experiments.point_function import PLANNER
from .experiments.run import Row
from .experiments.search import Reason, Search, candidates, judge
from .experiments.workers import on_ray, on_this_process
from .sweep_command import progress

DESCRIPTION = """\
Plan a model on a box in every way that there is (tp x dp x batch x precision), keep those that fit
the chips' DRAM and the limits, and print the best ones, and why the others are out. All times are
simulated; nothing is computed.

  tp, dp        chips of one replica, and replicas; batch: users of all replicas together
  TTFT          time to first token of one user's prompt
  tok/s/user    tokens a second of each user while decoding; tok/s: of all users together
"""
EPILOG = """\
examples:
  meshtwin search --objective tokens_per_s --model llama-3.1-8b --box quietbox2
  meshtwin search --objective tokens_per_s --model llama-3.1-70b --box galaxy --ttft-below 500 \\
      --tokens-per-user-above 20
"""
PRECISIONS = ("performance", "accuracy")
OBJECTIVES = ("tokens_per_s", "tokens_per_s_per_user", "tokens_per_s_per_chip")
COLUMNS = {
    "tp": "d", "dp": "d", "batch": "d", "precision": "", "mesh": "", "sim_ttft_ms": ",.2f",
    "sim_tokens_per_s_per_user": ",.2f", "sim_tokens_per_s": ",.1f",
    "sim_tokens_per_s_per_chip": ",.2f", "dram_free_bytes": "",
}  # fmt: skip
TITLES = {
    "sim_ttft_ms": "TTFT ms", "sim_tokens_per_s_per_user": "tok/s/user",
    "sim_tokens_per_s": "tok/s", "sim_tokens_per_s_per_chip": "tok/s/chip",
    "dram_free_bytes": "DRAM free GB",
}  # fmt: skip


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "search",
        parents=[common],
        help="the best tp x dp x batch x precision of a model on a box",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    number = arguments.at_least(1)
    command.add_argument(
        "--objective", required=True, type=arguments.one_of("objective", OBJECTIVES),
        help=", ".join(OBJECTIVES),
    )  # fmt: skip
    command.add_argument("--model", required=True, help="a name of the catalogue, or a folder")
    command.add_argument(
        "--box", type=arguments.box, default="quietbox2", help="see `meshtwin boxes` (%(default)s)"
    )
    command.add_argument("--prompt", type=number, default=128, help="tokens (%(default)s)")
    command.add_argument("--output", type=number, default=128, help="tokens (%(default)s)")
    command.add_argument(
        "--precision",
        action="append",
        metavar="NAME",
        help="only this one, may be repeated (performance and accuracy)",
    )
    command.add_argument(
        "--batch-max", type=number, default=256, metavar="N",
        help="users at most: 1, 2, 4, ... N are tried (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--ttft-below", type=arguments.above_zero, metavar="MS", help="limit of TTFT"
    )
    command.add_argument(
        "--tokens-per-user-above",
        type=arguments.above_zero,
        metavar="X",
        help="limit of tokens/s of each user",
    )
    command.add_argument("--top", type=number, default=10, metavar="N", help="rows (%(default)s)")
    command.add_argument(
        "--address", help='of a Ray cluster that plans, "auto" or host:port (this process)'
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the best deployments and why others are out; exit code 1 when none is left."""
    search = Search(
        args.model, args.box, args.prompt, args.output,
        tuple(args.precision or PRECISIONS), args.batch_max, f"sim_{args.objective}", limits(args),
    )  # fmt: skip
    for name, values in (("model", [search.model]), ("precision", search.precisions)):
        for value in values:
            check(name, value)
    points = candidates(search)
    evaluator = on_this_process
    if args.address:
        evaluator = functools.partial(on_ray, address=args.address)
    outcomes = []
    with progress(f"{args.model} on {args.box.name}") as report:
        report(0, len(points), 0)
        for chunk in evaluator(PLANNER, points):
            outcomes += chunk
            report(len(outcomes), len(points), 0)
    best, reasons = judge(search, outcomes)
    if args.json:
        answer = {
            "model": args.model, "box": args.box.name, "objective": search.objective,
            "tried": len(points), "legal": len(best), "best": best[: args.top],
            "out": [reason._asdict() for reason in reasons],
        }  # fmt: skip
        print(json.dumps(answer, indent=2))
    else:
        _print(args, len(points), best, reasons)
    return 0 if best else 1


def limits(args: argparse.Namespace) -> tuple[Limit, ...]:
    """The limits of the command line."""
    return (
        Limit("sim_ttft_ms", below=args.ttft_below),
        Limit("sim_tokens_per_s_per_user", above=args.tokens_per_user_above),
    )


def _print(
    args: argparse.Namespace, num_tried: int, best: list[Row], reasons: list[Reason]
) -> None:
    console = Console(soft_wrap=True, highlight=False, markup=False, width=120)
    console.print(
        f"{args.model} on {args.box.name}, {args.prompt} + {args.output} tokens, by "
        f"{args.objective} (simulated): {len(best)} of {num_tried} deployments are legal"
    )
    if best:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in COLUMNS:
            left = name in ("precision", "mesh")
            title = TITLES.get(name, name)
            table.add_column(title, justify="left" if left else "right", no_wrap=True)
        for row in best[: args.top]:
            table.add_row(*[_cell(row, name) for name in COLUMNS])
        console.print(table)
    for reason in reasons:
        console.print(f"{reason.num_cases} out: {reason.what}; nearest: {reason.nearest}")


def _cell(row: Row, name: str) -> str:
    if name == "dram_free_bytes":
        return f"{row[name] / 1e9:.2f}"
    return format(row[name], COLUMNS[name])
