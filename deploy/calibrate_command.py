"""`meshtwin calibrate collectives`: simulated times of collectives beside measured ones."""

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from ..collectives import calibrate
from ..collectives.calibrate import Costs, Residual, Summary

CONSTANTS = tuple(calibrate.START)


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "calibrate",
        parents=[common],
        help="compare simulated times with measured ones",
        description=(
            "Compare the simulated time of collectives with Tenstorrent's own measurements "
            "(collectives/data/collectives.csv), family by family."
        ),
    )
    command.add_argument("what", choices=["collectives"], help="what to compare")
    command.add_argument(
        "--fit",
        action="store_true",
        help="fit the free constants again, and each family by constants fitted without it (1 min)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the table, or with --json one object."""
    report = compare(calibrate.shipped_costs())
    if args.fit:
        fitted = calibrate.fit()
        report["fit"] = compare(fitted)
        report["left_out"] = [_summary(summary) for summary in calibrate.leave_one_out()]
    if args.json:
        print(json.dumps(report, indent=2))
        return 0
    console = Console()
    console.print(_table(report["families"] + [report["all"]]))
    console.print()
    console.print("Errors in percent of the measured time; bias < 0: the simulator is too fast.")
    if args.fit:
        console.print("\nFitted again:")
        console.print(_table(report["fit"]["families"] + [report["fit"]["all"]]))
        console.print("\nEach family by constants fitted without it:")
        console.print(_table(report["left_out"]))
        console.print("\nConstants:")
        console.print(_constants(report["constants"], report["fit"]["constants"]))
    return 0


def compare(costs: Costs) -> dict[str, Any]:
    """Residuals of all measured rows under some constants, as plain values; times in us."""
    found = calibrate.residuals(costs)
    families = calibrate.by_family(found)
    return {
        "families": [_summary(calibrate.summarize(str(f), rows)) for f, rows in families.items()],
        "all": _summary(calibrate.summarize("all", found)),
        "constants": {
            arch: {name: getattr(costs[arch], name).value for name in CONSTANTS} for arch in costs
        },
        "rows": [_row(residual) for residual in found],
    }


def _summary(summary: Summary) -> dict[str, Any]:
    worst = summary.worst
    return {
        "family": summary.family,
        "rows": summary.num_rows,
        "median": round(summary.median, 4),
        "percentile_90": round(summary.percentile_90, 4),
        "bias": round(summary.bias, 4),
        "worst": round(worst.error, 4),
        "worst_row": _row(worst),
    }


def _row(residual: Residual) -> dict[str, Any]:
    return {
        "family": str(residual.row.family),
        "memory": residual.row.memory,
        "total_bytes": residual.row.total_bytes,
        "measured_us": residual.row.measured_us,
        "simulated_us": round(residual.simulated_us, 3),
        "error": round(residual.error, 4),
    }


def _table(summaries: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("family", no_wrap=True)
    for title in ("rows", "median", "90th", "bias", "worst"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("at bytes", justify="right", no_wrap=True)
    for summary in summaries:
        table.add_row(
            summary["family"],
            str(summary["rows"]),
            *(f"{100 * summary[name]:.1f}" for name in ("median", "percentile_90")),
            *(f"{100 * summary[name]:+.1f}" for name in ("bias", "worst")),
            str(summary["worst_row"]["total_bytes"]),
        )
    return table


def _constants(shipped: dict[str, Any], fitted: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("architecture", "constant", "unit", "data/costs.toml", "fitted"):
        table.add_column(title, no_wrap=True)
    costs = calibrate.shipped_costs()
    for arch, values in shipped.items():
        for name, value in values.items():
            unit = getattr(costs[arch], name).unit
            table.add_row(arch, name, unit, f"{value:g}", f"{fitted[arch][name]:g}")
    return table
