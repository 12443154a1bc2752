"""The journal: what was written is there, whatever happened after."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.errors import ResultsBusy
from meshtwin.deploy.experiments.journal import FILE, Journal
from meshtwin.deploy.experiments.outcome import Outcome

OUTCOMES = [
    ("a", Outcome({"n": 1}, {"x": 0.1, "y": [1, None]}, "", 0.25)),
    ("b", Outcome({"n": 2}, None, "ValueError: \n über", 0.0)),
    ("c", Outcome({"n": 3}, {}, "", 1.0)),
]


@given(st.integers(0, 400))
def test_a_journal_cut_anywhere_keeps_its_whole_lines_and_goes_on(cut: int) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder)
        with Journal(path) as journal:
            journal.append(OUTCOMES[:2])
            journal.append(OUTCOMES[2:])
        whole = (path / FILE).read_bytes()
        (path / FILE).write_bytes(whole[:cut])
        with Journal(path) as journal:
            kept = len(journal.finished)
            assert kept == whole[:cut].count(b"\n")
            assert journal.finished == dict(OUTCOMES[:kept])
            journal.append(OUTCOMES[kept:])
        assert (path / FILE).read_bytes() == whole


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(ResultsBusy, match="another process writes"):
        Journal(tmp_path)
    Journal(tmp_path).close()


def test_a_later_outcome_of_a_point_counts(tmp_path: Path) -> None:
    again = Outcome({"n": 2}, {"x": 1}, "", 0.0)
    with Journal(tmp_path) as journal:
        journal.append(OUTCOMES)
        journal.append([("b", again)])
    with Journal(tmp_path) as journal:
        assert journal.finished["b"] == again
