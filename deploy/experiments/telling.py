"""Which values tell the rows of a picture apart, and how they are written."""

from collections.abc import Sequence
from typing import Any

from .plain import canonical, text_of
from .run import Row

RESOLVED = ("chips", "mesh", "users")
NAMED_TWICE = ("tp", "dp", "batch", "batch_per_chip", "chips")
"""Values of a point that `RESOLVED`, its results, say in one way."""


def telling(
    rows: Sequence[Row], varying: Sequence[str], x: str, results: Sequence[str]
) -> list[str]:
    """The names that are needed to tell apart different results at one x ("": anywhere).

    Names that some rows lack (batch, where others have batch_per_chip) are needed all or none.
    """
    partial = [name for name in varying if any(row.get(name) is None for row in rows)]
    names = list(varying)
    for dropped in (partial, *([name] for name in varying if name not in partial)):
        rest = [name for name in names if name not in dropped]
        seen: dict[str, Any] = {}
        for row in rows:
            key = canonical([row.get(name) for name in (x, *rest)])
            found = [row.get(result) for result in results]
            if seen.setdefault(key, found) != found:
                break
        else:
            names = rest
    return names


def distinct(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The rows without those that plan the same deployment as an earlier one.

    The same batch can be named by `batch` or `batch_per_chip`, the same chips by tp or dp alone.
    """
    found: dict[str, Row] = {}
    for row in rows:
        is_plan = all(name in row for name in RESOLVED)
        known = [name for name in names if not (is_plan and name in NAMED_TWICE)]
        key = canonical([row.get(name) for name in (*known, *RESOLVED)])
        found.setdefault(key, row)
    return list(found.values())


def label(row: Row, names: Sequence[str]) -> str:
    """The values of a row that matter: "tp 4, batch 32"; texts stand alone."""
    values = {name: row[name] for name in names if row.get(name) is not None}
    return ", ".join(
        value if isinstance(value, str) else f"{name.replace('_', ' ')} {text_of(value)}"
        for name, value in values.items()
    )


def apart(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[str], str]:
    """A label for each row of what differs among them, and one for what they share."""
    differing = [name for name in names if len({canonical(row.get(name)) for row in rows}) > 1]
    shared = [name for name in names if name not in differing]
    return [label(row, differing) for row in rows], label(rows[0], shared)
