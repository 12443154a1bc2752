"""Tables of measurements, shipped or a user's own."""

from pathlib import Path

import pytest

from meshtwin.deploy.calibration import table
from meshtwin.deploy.errors import BadRow


def _line(**fields: str) -> table.Line:
    return table.Line("mine.csv", 7, fields)


def test_a_table_without_a_column_of_sources_is_refused() -> None:
    with pytest.raises(BadRow, match=r"mine\.csv, line 1: no column says where its rows are from"):
        list(table.parse("mine.csv", "M,K,N\n1,2,3\n"))


def test_a_row_without_a_source_is_named() -> None:
    with pytest.raises(BadRow, match=r"mine\.csv, line 3: source is empty"):
        list(table.parse("mine.csv", "source,M\nhere,1\n,2\n"))


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(BadRow, match="it has no rows"):
        list(table.parse("mine.csv", "source,M\n"))


def test_a_row_with_too_many_fields_is_named() -> None:
    with pytest.raises(BadRow, match="line 2: it has more fields than the first line"):
        list(table.parse("mine.csv", "source,M\nhere,1,2\n"))


def test_a_file_is_read_with_the_numbers_of_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("source,M\nhere,1\nthere,2\n")
    assert [(line.number, line.integer_of("M")) for line in table.read(path)] == [(2, 1), (3, 2)]


@pytest.mark.parametrize("text", ["", "x", "-1", "0", "nan", "inf"])
def test_a_number_that_is_none_is_named_with_its_line(text: str) -> None:
    with pytest.raises(BadRow, match=r"line 7: M \(=.*must be a number above 0"):
        _line(M=text).number_of("M")


def test_whole_numbers_words_and_defaults() -> None:
    line = _line(M="32", half="0.5", word="DRAM")
    assert line.integer_of("M") == 32
    assert line.integer_of("nothing", 3) == 3
    assert line.one_of("word", ("L1", "DRAM")) == "DRAM"
    with pytest.raises(BadRow, match="whole number"):
        line.integer_of("half")
    with pytest.raises(BadRow, match="must be one of L1"):
        line.one_of("word", ("L1",))


@pytest.mark.parametrize("name", ["matmul_p150.csv", "matmul_n150.csv", "ops.csv", "llm_perf.csv"])
def test_shipped_tables_are_read(name: str) -> None:
    assert len(table.shipped(name)) > 30
