"""`meshtwin constants`: what can be changed of a box, with values, units and sources."""

import argparse
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..mesh.scenario import Scenario
from ..mesh.settings import MOST, Setting
from . import arguments
from .what_if import add_set_options, scenario_of

DESCRIPTION = """\
List the constants that --set changes: of links, chips, memory, collectives and ops, with the value
that they have for a box, its kind (documented, measured, inferred; set: by --set) and its source.
Slow places can be set as well, as shares: --set slow_link=3-7:0.25 --set slow_chip=5:0.8.
"""
EPILOG = """\
examples:
  meshtwin constants --box galaxy
  meshtwin constants link collective.startup_us
  meshtwin constants --set chip.clock_mhz=1000 --json
"""
WIDTH = 150
"""Columns that the table takes at least."""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "constants",
        parents=[common],
        help="list the constants that --set changes: value, unit, kind, source",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "names", nargs="*", metavar="NAME",
        help="only these, or those that begin so: link, cost, dram.gib; sources in full",
    )  # fmt: skip
    command.add_argument("--box", type=arguments.box, default="quietbox2", help="(%(default)s)")
    arguments.add_stack(command)
    add_set_options(command)
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Print the table, or with --json a list of objects."""
    scenario = scenario_of(args, args.box, args.stack)
    chosen = [setting for setting in scenario.settings.values() if _is_wanted(setting, args.names)]
    if not chosen:
        args.misuse(f"no constant begins with {' or '.join(args.names)}")
    rows = [describe(setting, scenario) for setting in chosen]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    width = max(WIDTH, Console().width)
    console = Console(highlight=False, width=width)
    console.print(scenario.name)
    console.print(_table(rows, None if args.names else width))
    return 0


def describe(setting: Setting, scenario: Scenario) -> dict[str, Any]:
    """A setting as plain values; `least` and `most` are the legal ones, None: no bound."""
    is_set = setting.name in dict(scenario.changes)
    return {
        "name": setting.name,
        "value": setting.constant.value,
        "unit": setting.constant.unit,
        "kind": "set" if is_set else setting.constant.kind,
        "source": "--set" if is_set else setting.constant.source,
        "least": setting.range.least,
        "most": setting.range.most if setting.range.most < MOST else None,
        "whole": setting.range.is_whole,
    }


def _is_wanted(setting: Setting, names: Iterable[str]) -> bool:
    return not names or any(setting.name.startswith(name) for name in names)


def _table(rows: Sequence[dict[str, Any]], width: int | None) -> Table:
    """The rows, with sources cut to what fits into `width` columns, or else in full."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "value", "unit", "kind"):
        table.add_column(title, justify="right" if title == "value" else "left", no_wrap=True)
    table.add_column("source", overflow="fold")
    cells = [
        (row["name"], f"{row['value']:.10g}", row["unit"], row["kind"], row["source"])
        for row in rows
    ]
    others = [max(map(len, column)) + len("  ") for column in zip(*cells, strict=True)][:-1]
    for *cell, source in cells:
        room = len(source) if width is None else width - sum(others)
        cut = source if len(source) <= room else f"{source[: room - 1].rstrip()}…"
        table.add_row(*map(escape, (*cell, cut)))
    return table
