"""The options of reports: what they write, what they say, what they refuse at once."""

import argparse
from pathlib import Path

import pytest

from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.record import ChipRecords
from meshtwin.deploy.reports.options import (
    add_report_options,
    wants_reports,
    write_reports,
    write_trace,
)

from .runs import sample


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="meshtwin")
    add_report_options(parser)
    return parser.parse_args(argv)


def test_every_report_that_was_asked_for_is_written_and_named(tmp_path: Path) -> None:
    trace, table, folder = tmp_path / "a.pftrace", tmp_path / "a.csv", tmp_path / "et"
    args = parsed("--trace", str(trace), "--perf-csv", str(table), "--chakra", str(folder))
    assert wants_reports(args)
    assert write_reports(args, sample().chips) == [
        f"wrote the trace of 7 ops: {trace}",
        f"wrote the table of 7 ops: {table}",
        f"wrote the Chakra traces of 7 ops: {folder}",
    ]
    assert trace.stat().st_size and table.stat().st_size
    assert sorted(path.name for path in folder.iterdir()) == [
        "comm_group.json",
        "meshtwin.0.et",
        "meshtwin.1.et",
    ]


def test_no_report_is_written_unasked() -> None:
    args = parsed()
    assert not wants_reports(args)
    assert write_reports(args, sample().chips) == []


def test_what_was_dropped_is_said(tmp_path: Path) -> None:
    first, second = sample().chips
    cut = ChipRecords(1, second.product, second.records[1:], 1)
    *_, line = write_reports(parsed("--perf-csv", str(tmp_path / "a.csv")), [first, cut])
    assert line.startswith("1 older ops are missing from the reports: a chip keeps its last 4")


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--trace", "a.jsn"], "'a.jsn' ends in '.jsn': did you mean '.json'?"),
        (["--trace", "a"], "Known: .perfetto-trace, .pftrace, .json."),
        (["--perf-csv", "a.cvs"], "'a.cvs' ends in '.cvs': did you mean '.csv'?"),
        (["--trace", "no/such/a.json"], "there is no folder 'no/such'"),
        (["--chakra", __file__], "is a file; give a folder, new or old"),
    ],
)
def test_a_wrong_path_is_refused_with_what_would_be_right(
    argv: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed(*argv)
    assert stop.value.code == 2
    assert text in capsys.readouterr().err


def test_a_trace_of_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"did you mean '\.pftrace'"):
        write_trace(tmp_path / "a.pfrace", sample().chips)
    assert not list(tmp_path.iterdir())


def test_the_help_says_what_opens_each_report(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("--help")
    out = " ".join(capsys.readouterr().out.split())
    assert all(word in out for word in ("ui.perfetto.dev", "tt-perf-report", "network simulators"))
