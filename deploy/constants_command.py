"""`meshtwin constants`: what can be changed of a box, with values, units and sources."""

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..chip.errors import did_you_mean, nearest_name
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
  meshtwin constants link startup_us
  meshtwin constants --set chip.clock_mhz=1000 --json
"""
TITLES = ("name", "value", "unit", "kind")
NOTE = """\
--sources, or a name, says where values come from. Slow places, as shares:
--set slow_link=0-1:0.25 (the links of chips 0 and 1), --set slow_chip=0:0.8"""


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
        help="only those with this in their name, with sources: link, startup, dram.gib",
    )  # fmt: skip
    command.add_argument("--sources", action="store_true", help="of all of them")
    command.add_argument("--box", type=arguments.box, default="quietbox2", help="(%(default)s)")
    arguments.add_stack(command)
    add_set_options(command)
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Print the table, or with --json a list of objects."""
    scenario = scenario_of(args, args.box, args.stack)
    chosen = [setting for setting in scenario.settings.values() if _is_wanted(setting, args.names)]
    if unknown := _unknown(args.names, scenario.settings):
        args.misuse(unknown)
    rows = [describe(setting, scenario) for setting in chosen]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    console = Console(highlight=False)
    console.print(scenario.name, markup=False)
    if args.names or args.sources:
        for row in rows:
            console.print(_with_source(row, console.width), markup=False, soft_wrap=True)
    else:
        console.print(_table(rows, console.width))
        console.print(NOTE, markup=False, soft_wrap=True)
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
    return not names or any(name.lower() in setting.name for name in names)


def _unknown(names: Iterable[str], known: Iterable[str]) -> str:
    """Those of the names that are in none of the known ones, with the nearest of each."""
    settings = list(known)
    texts = [
        f"no constant has {name!r} in its name{did_you_mean(nearest_name(name.lower(), settings))}"
        for name in names
        if not any(name.lower() in setting for setting in settings)
    ]
    return " ".join(texts)


def _table(rows: Sequence[dict[str, Any]], width: int) -> Table:
    """The rows without sources, a line each; units are cut to what fits into `width` columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in TITLES:
        justify: Literal["left", "right"] = "right" if title == "value" else "left"
        table.add_column(title, justify=justify, no_wrap=True)
    others = [max(len(_cell(row, title)) for row in rows) for title in TITLES if title != "unit"]
    room = max(len("unit"), width - sum(others) - len("  ") * len(others))
    for row in rows:
        unit = row["unit"] if len(row["unit"]) <= room else f"{row['unit'][: room - 1].rstrip()}…"
        table.add_row(*[escape(_cell({**row, "unit": unit}, title)) for title in TITLES])
    return table


def _cell(row: dict[str, Any], title: str) -> str:
    return f"{row['value']:.10g}" if title == "value" else str(row[title])


def _with_source(row: dict[str, Any], width: int) -> str:
    """A constant, and its source on lines of its own."""
    head = f"{row['name']} = {_cell(row, 'value')} {row['unit']} ({row['kind']})"
    indent = " " * 4
    source = textwrap.wrap(row["source"], width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([head, *source])
