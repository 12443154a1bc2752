"""The options that write reports, for any command that has records."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from ...chip.errors import InvalidArgument, did_you_mean, nearest_name
from ...chip.record import ChipRecords
from .chakra import write_chakra
from .perf_csv import write_perf_csv
from .perfetto import write_perfetto
from .trace_events import write_trace_events

Writer = Callable[[Path, Sequence[ChipRecords]], None]

TRACES: dict[str, Writer] = {
    ".perfetto-trace": write_perfetto,
    ".pftrace": write_perfetto,
    ".json": write_trace_events,
}
"""Formats of a trace, by the ending of the file's name."""


def write_trace(path: str | Path, chips: Sequence[ChipRecords]) -> None:
    """Write a trace in the format that the file's name ends in.

    Raises:
        InvalidArgument: it ends in none of `TRACES`; names the nearest.
        OSError: the file cannot be written.
    """
    TRACES[_ending(Path(path), list(TRACES))](Path(path), chips)


def add_report_options(command: argparse.ArgumentParser) -> None:
    """Add the options to a command; `write_reports` does what they ask for."""
    group = command.add_argument_group(
        "reports", "what every chip did, op by op, in simulated time (docs/reports.md)"
    )
    group.add_argument(
        "--trace",
        type=_file(list(TRACES)),
        metavar="FILE",
        help="a timeline to open in ui.perfetto.dev: FILE.perfetto-trace, or FILE.json for "
        "chrome://tracing too",
    )
    group.add_argument(
        "--perf-csv",
        type=_file([".csv"]),
        metavar="FILE",
        help="the table that tt-perf-report reads: FILE.csv",
    )
    group.add_argument(
        "--chakra",
        type=_folder,
        metavar="DIR",
        help="Chakra execution traces, one a chip: DIR/meshtwin.RANK.et, for network simulators",
    )


def wants_reports(args: argparse.Namespace) -> bool:
    """Whether a report was asked for, so that records are needed."""
    return any((args.trace, args.perf_csv, args.chakra))


def write_reports(args: argparse.Namespace, chips: Sequence[ChipRecords]) -> list[str]:
    """Write the reports that were asked for; a line on each, and on ops that are in none of them.

    Raises:
        OSError: one cannot be written.
    """
    lines = []
    writers: tuple[tuple[Path | None, Writer, str], ...] = (
        (args.trace, write_trace, "trace"),
        (args.perf_csv, write_perf_csv, "table"),
        (args.chakra, write_chakra, "Chakra traces"),
    )
    for path, write, what in writers:
        if path is not None:
            write(path, chips)
            lines.append(
                f"wrote the {what} of {sum(len(chip.records) for chip in chips)} ops: {path}"
            )
    dropped = sum(chip.num_dropped for chip in chips)
    if lines and dropped:
        lines.append(
            f"{dropped} older ops are missing from the reports: a chip keeps its last "
            f"{max(len(chip.records) for chip in chips)}; a shorter run has all"
        )
    return lines


def _ending(path: Path, legal: Sequence[str]) -> str:
    if path.suffix not in legal:
        hint = did_you_mean(nearest_name(path.suffix, legal))
        raise InvalidArgument(
            f"{str(path)!r} ends in {path.suffix!r}{hint} Known: {', '.join(legal)}."
        )
    return path.suffix


def _file(legal: Sequence[str]) -> Callable[[str], Path]:
    """A parser of a file to write, whose name ends in one of these."""

    def parse(text: str) -> Path:
        path = Path(text)
        try:
            _ending(path, legal)
        except InvalidArgument as error:
            raise argparse.ArgumentTypeError(str(error)) from error
        if path.is_dir() or not path.parent.is_dir():
            what = "is a folder" if path.is_dir() else f"there is no folder {str(path.parent)!r}"
            raise argparse.ArgumentTypeError(f"{text!r} cannot be written: {what}")
        return path

    return parse


def _folder(text: str) -> Path:
    path = Path(text)
    if path.exists() and not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a file; give a folder, new or old")
    return path
