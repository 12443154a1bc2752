"""`meshtwin calibrate`: predicted times beside measured ones, and the fit of what is free."""

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .calibration import band, report, table, write
from .calibration.case import residuals
from .calibration.family import FAMILIES, Family
from .errors import BadRow

DESCRIPTION = """\
Compare predicted times with measured ones, family by family: matrix products, reads of DRAM, single
ops, collectives, decode steps and times to the first token. The rows come with meshtwin, each with
its source. Without a family: a line for each of them; with one: every row of it.

Errors are in percent of the measured time; bias is their signed mean, below 0 where the model is
too fast. The target is of the median: "missed" says that the median is over it, or that the bias is
beyond half of it, either way. "left out" is the same errors with each group of rows predicted by
constants fitted without it.
"""
EPILOG = """\
examples:
  meshtwin calibrate
  meshtwin calibrate matmul
  meshtwin calibrate decode --fit --loo
  meshtwin calibrate matmul --rows mine.csv --csv judged.csv

--rows takes a file with the columns of a shipped one (meshtwin/deploy/calibration/data,
chip/data/noc_measured.csv, collectives/data/collectives.csv); others are ignored, and a warning
names those that are almost one of them.
docs/accuracy.md says what was calibrated on what, and what the model does not know.
"""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "calibrate",
        parents=[common],
        help="compare predicted times with measured ones, or fit the free constants",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "what", nargs="?", choices=list(FAMILIES), help="a family of measurements, row by row"
    )
    command.add_argument(
        "--loo",
        action="store_true",
        help="leave each group of rows out of the fit again, now (a minute; collectives: two)",
    )
    command.add_argument(
        "--fit", action="store_true", help="fit the free constants again (needs scipy)"
    )
    command.add_argument(
        "--write",
        action="store_true",
        help="with --fit: ship the constants found, and the residuals that bands are made of",
    )
    command.add_argument(
        "--rows", type=Path, metavar="FILE.csv", help="judge the model on these rows instead"
    )
    command.add_argument("--csv", type=Path, metavar="FILE", help="write every row there")
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Print the tables, or with --json one object."""
    _refuse_misuse(args)
    chosen = [FAMILIES[args.what]] if args.what else list(FAMILIES.values())
    found = _report(args, chosen)
    if args.csv:
        _write_csv(args.csv, found["rows"])
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    if args.what:
        _print_rows(found["rows"])
        print()
        _print_groups(found["families"][0]["groups"])
        print()
    _print_families(found["families"])
    _print_excluded(found["families"], bool(args.what))
    if args.fit:
        print("\nFitted again:")
        _print_families(found["fit"])
        print("\nConstants:")
        _print_constants(found["constants"])
    for path in found.get("written", ()):
        print(f"wrote {path}", file=sys.stderr)
    return 0


def _refuse_misuse(args: argparse.Namespace) -> None:
    if args.write and not args.fit:
        args.misuse("--write goes with --fit: it ships what a fit finds")
    if args.rows and not args.what:
        args.misuse(f"--rows needs the family that they are of: {', '.join(FAMILIES)}")
    if args.rows and (args.fit or args.loo):
        args.misuse("--rows judges the shipped constants: leave out --fit and --loo")


def _report(args: argparse.Namespace, chosen: Sequence[Family]) -> dict[str, Any]:
    lines = table.read(args.rows) if args.rows else None
    for warning in table.misspelt(lines, chosen[0].columns()) if lines else ():
        print(f"meshtwin: {warning}", file=sys.stderr)
    judged = {family.name: residuals(family.cases(lines)) for family in chosen}
    if lines is not None and not judged[chosen[0].name]:
        why = ", ".join(dict.fromkeys(map(chosen[0].excluded, lines)))
        raise BadRow(str(args.rows), 1, f"no row says enough to be predicted: {why}")
    found: dict[str, Any] = {}
    left_out: dict[str, Any] = {}
    if args.fit:
        values, each = report.fitted(chosen)
        again = {family.name: residuals(family.cases(), values) for family in chosen}
        found["fit"] = [report.family_report(family, again[family.name]) for family in chosen]
        found["constants"] = report.constant_reports(values)
        if "collectives" in judged:
            found["constants"] += report.collective_constants()
    else:
        values, each = {}, {}
    if args.loo or args.write:
        for family in chosen:
            left_out[family.name] = family.leave_one_out(family.cases(), values)
    if args.write:
        written = [
            path for name, mine in each.items() for path in write.write(mine, FAMILIES[name].tables)
        ]
        found["written"] = sorted({*map(str, written), str(band.write(left_out))})
    families = [
        report.family_report(family, judged[family.name], left_out.get(family.name), lines)
        for family in chosen
    ]
    rows = [row for name, mine in judged.items() for row in report.row_reports(name, mine)]
    return {"families": families, "rows": rows, **found}


def _write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}"


def _print(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table whose first column is text and whose others are numbers; wide lines stay whole."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells).rstrip())


def _print_families(families: Sequence[dict[str, Any]]) -> None:
    titles = ["family", "rows", "median", "90th", "bias", "worst", "target"]
    if has_left_out := any(family["left_out"] for family in families):
        titles += ["left out: median", "90th", "bias"]
    rows = []
    for family in families:
        left_out = family["left_out"]
        rows.append(
            (
                family["family"],
                str(family["rows"]),
                *_errors(family),
                _signed(family["worst"]),
                f"{100 * family['target']:g}{'' if family['meets'] else ' missed'}",
                *(_errors(left_out) if left_out else ("",) * 3 * has_left_out),
            )
        )
    _print(titles, rows)
    if not all(family["meets"] for family in families):
        print("\nmissed: the median is over the target, or the bias beyond half of it.")
    notes = [f"{family['family']}: {family['note']}." for family in families if family["note"]]
    if notes:
        print("\n" + "\n".join(notes))


def _print_groups(groups: Sequence[dict[str, Any]]) -> None:
    _print(
        ("group", "rows", "median", "90th", "bias", "worst"),
        [(g["family"], str(g["rows"]), *_errors(g), _signed(g["worst"])) for g in groups],
    )


def _print_rows(rows: Sequence[dict[str, Any]]) -> None:
    _print(
        ("row", "measured us", "predicted us", "error", "note"),
        [
            (
                row["row"],
                f"{row['measured_us']:.6g}",
                f"{row['predicted_us']:.6g}",
                _signed(row["error"]),
                row["note"],
            )
            for row in rows
        ],
    )


def _print_constants(constants: Sequence[dict[str, Any]]) -> None:
    _print(
        ("constant", "shipped", "fitted", "unit"),
        [(c["constant"], f"{c['shipped']:g}", f"{c['fitted']:g}", c["unit"]) for c in constants],
    )


def _errors(summary: dict[str, Any]) -> tuple[str, str, str]:
    return (
        _percent(summary["median"]),
        _percent(summary["percentile_90"]),
        _signed(summary["bias"]),
    )


def _print_excluded(families: Sequence[dict[str, Any]], in_full: bool) -> None:
    left = [each for family in families for each in family["excluded"]]
    if in_full and left:
        print("\nRows that say too little to be predicted:")
        for each in left:
            print(f"  {each['rows']:3}  {each['reason']}")
    elif left:
        total = sum(each["rows"] for each in left)
        print(f"\n{total} rows say too little to be predicted: name a family to see why.")
