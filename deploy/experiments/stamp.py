"""What results depend on besides their point: versions of the code, and constants of the hardware.

A result is kept under a key of its values and of this stamp, so it is never mixed with one of
other code or other constants.
"""

import hashlib
import platform
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ... import __version__
from .plain import canonical

PACKAGE = Path(__file__).parents[2]
FLOORS = ("chip", "fabric", "collectives", "mesh", "models")
DIGITS = 16  # of a digest, as it is shown


@dataclass(frozen=True)
class Stamp:
    """The state of everything that a result depends on.

    Attributes:
        versions: of meshtwin, of its code (a digest), of the sweep's function (a digest), of
            Python and numpy.
        constants: a digest of the data files of meshtwin: products, boxes, costs.
    """

    versions: Mapping[str, str]
    constants: str

    @cached_property
    def digest(self) -> str:
        """One text that differs when anything does."""
        return digest_of(canonical([dict(self.versions), self.constants]))

    def key(self, values: Mapping[str, Any]) -> str:
        """The key of a point's result."""
        return digest_of(f"{self.digest} {canonical(dict(values))}")


def stamp_of(function: str) -> Stamp:
    """The stamp of this installation and of a sweep's function (its digest)."""
    versions = {
        "meshtwin": __version__,
        "code": _code(),
        "function": function,
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
    return Stamp(versions, _constants_digest())


def digest_of(text: str) -> str:
    """The first hex digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


@cache
def constants() -> Mapping[str, int | float]:
    """Every number of the data files, by "file: table.name"."""
    found: dict[str, int | float] = {}
    for path in _data_files():
        if path.suffix == ".toml":
            table = tomllib.loads(path.read_text(encoding="utf-8"))
            found |= _numbers(f"{path.relative_to(PACKAGE)}: ", table)
    return found


def _numbers(where: str, table: Mapping[str, Any]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for name, value in table.items():
        if isinstance(value, dict) and isinstance(value.get("value"), (int, float)):
            found[where + name] = value["value"]
        elif isinstance(value, dict):
            found |= _numbers(f"{where}{name}.", value)
        elif isinstance(value, (int, float)):
            found[where + name] = value
    return found


@cache
def _code() -> str:
    sources = (path for floor in FLOORS for path in (PACKAGE / floor).rglob("*.py"))
    return _digest_of_files(sorted(sources))


@cache
def _constants_digest() -> str:
    return _digest_of_files(_data_files())


def _data_files() -> list[Path]:
    return sorted(path for floor in FLOORS for path in _files_in(PACKAGE / floor / "data"))


def _files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.glob("*") if path.suffix in (".toml", ".csv"))


def _digest_of_files(paths: list[Path]) -> str:
    text = "".join(f"{path.relative_to(PACKAGE)}\n{path.read_text('utf-8')}\n" for path in paths)
    return digest_of(text)
