"""Tables of measurements: CSV files whose rows say where they are from.

The shipped ones lie in deploy/calibration/data (sources: each row's own columns, and README.md
there). A user's own table has the same columns; others are ignored.
"""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from ..errors import BadRow
from ..given_file import read_given

SOURCES = ("source", "source_path", "source_path_or_doc")
"""One of these columns says where a row is from."""


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table, and its place in the file."""

    file: str
    number: int
    fields: Mapping[str, str]

    def text(self, name: str) -> str:
        """A field, which may be empty or not there."""
        return (self.fields.get(name) or "").strip()

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """A field that is one of a few words.

        Raises:
            BadRow: it is not.
        """
        value = self.text(name)
        if value not in known:
            raise self.bad(f"{name} (={value!r}) must be one of {', '.join(known)}")
        return value

    def number_of(self, name: str, default: float | None = None) -> float:
        """A field that is a number above 0; `default` where it is empty.

        Raises:
            BadRow: it is no such number, or empty without a default.
        """
        text = self.text(name)
        if not text and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise self.bad(f"{name} (={text!r}) must be a number above 0")
        return value

    def integer_of(self, name: str, default: int | None = None) -> int:
        """A field that is a whole number above 0. Raises as `number_of`."""
        value = self.number_of(name, default)
        if value != int(value):
            raise self.bad(f"{name} (={value:g}) must be a whole number")
        return int(value)

    def bad(self, reason: str) -> BadRow:
        """The error that names this row."""
        return BadRow(self.file, self.number, reason)


def shipped(name: str) -> list[Line]:
    """The rows of a shipped table, by its file name."""
    path = files("meshtwin.deploy.calibration") / "data" / name
    return list(parse(name, path.read_text(encoding="utf-8")))


def read(path: Path) -> list[Line]:
    """The rows of a file.

    Raises:
        BadRow: a row is of no known source, or the file has no rows.
        UnreadableFile: it is no file, or no text.
    """
    return list(parse(str(path), read_given(path)))


def misspelt(lines: Sequence[Line], known: Collection[str]) -> list[str]:
    """What to say of the columns of a table that are almost, but not quite, a known one."""
    names = lines[0].fields
    free = [name for name in known if name not in names]
    found = []
    for name in names:
        near = get_close_matches(name.strip().lower(), free, n=1, cutoff=0.8)
        if near and name not in known:
            found.append(f"{lines[0].file}: column {name!r} is not read: did you mean {near[0]!r}?")
    return found


def parse(file: str, text: str) -> Iterator[Line]:
    """The rows of a CSV text; `file` is what errors call it.

    Raises:
        BadRow: as `read`.
    """
    reader = csv.DictReader(text.splitlines())
    named = [name for name in SOURCES if name in (reader.fieldnames or ())]
    if not named:
        raise BadRow(file, 1, f"no column says where its rows are from: add {SOURCES[0]}")
    empty = True
    for fields in reader:
        empty = False
        line = Line(file, reader.line_num, {k: v for k, v in fields.items() if k is not None})
        if None in fields:
            raise line.bad("it has more fields than the first line")
        if not any(line.text(name) for name in named):
            raise line.bad(f"{named[0]} is empty: say where the row is from")
        yield line
    if empty:
        raise BadRow(file, 1, "it has no rows")
