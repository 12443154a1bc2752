"""Writing results: CSV always, Parquet where pyarrow is there, and what they depend on beside them.

Files appear whole or not at all. The same points give the same bytes, whoever was interrupted.
"""

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .plain import canonical, text_of
from .run import Row
from .stamp import Stamp, constants
from .sweep import Sweep

CSV, PARQUET, ABOUT = "results.csv", "results.parquet", "about.json"


def write_results(folder: Path, sweep: Sweep, stamp: Stamp, rows: Sequence[Row]) -> list[Path]:
    """Write results.csv, about.json and perhaps results.parquet; returns their paths."""
    about = about_of(sweep, stamp, rows)
    stamped = [{**row, **_stamps(stamp)} for row in rows]
    names = [*columns(sweep.names, rows), *_stamps(stamp)]
    written = [
        _write(folder / CSV, lambda path: _write_csv(path, names, stamped)),
        _write(folder / ABOUT, lambda path: path.write_text(json.dumps(about, indent=2) + "\n")),
    ]
    if find_spec("pyarrow") is not None:
        parquet = folder / PARQUET
        written.append(_write(parquet, lambda path: _write_parquet(path, names, stamped, about)))
    return written


def about_of(sweep: Sweep, stamp: Stamp, rows: Sequence[Row]) -> dict[str, Any]:
    """What the results are of: counts, versions, and every constant of the hardware."""
    return {
        "sweep": sweep.name,
        "function": f"{sweep.function.path}:{sweep.function.name}".lstrip(":"),
        "points": len(rows),
        "failed": sum(bool(row["error"]) for row in rows),
        "versions": dict(stamp.versions),
        "constants_digest": stamp.constants,
        "constants": dict(constants()),
    }


def columns(values: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The names of all rows: values, then results as they first appear, then limits and error."""
    last = ("limits", "error")
    names = dict.fromkeys([*values, *(name for row in rows for name in row if name not in last)])
    return [*names, *(name for name in last if any(name in row for row in rows))]


def _stamps(stamp: Stamp) -> dict[str, str]:
    """The columns that say what a row depends on."""
    return {
        "meshtwin": stamp.versions["meshtwin"],
        "code": stamp.versions["code"],
        "constants": stamp.constants,
    }


def _write(path: Path, fill: Callable[[Path], object]) -> Path:
    """Fill a file beside its place, sync it and rename it."""
    draft = path.with_name(f".{path.name}.partial")
    fill(draft)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)
    return path


def _write_csv(path: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([text_of(row.get(name)) for name in names] for row in rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def _write_parquet(
    path: Path, names: Sequence[str], rows: Sequence[Row], about: dict[str, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({name: _column([row.get(name) for row in rows]) for name in names})
    metadata = {"meshtwin": canonical(about)}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def _column(values: list[Any]) -> list[Any]:
    """Values of one type, as Parquet needs: whole numbers and floats mix, the rest is text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    if len(kinds) > 1 or kinds & {list, dict}:
        return [None if value is None else text_of(value) for value in values]
    return values
