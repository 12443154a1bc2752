"""Sweeps in TOML: [sweep], [grid] or [strong] or [weak], [limits]."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ...chip.errors import MeshtwinError, did_you_mean, nearest_name
from ..errors import SweepFileError
from .evaluate import RESULTS, VALUES, check, is_change
from .grid import Point, product, strong, weak
from .limits import WrongLimit, broken, read_limits
from .plain import canonical
from .point_function import PLANNER, PointFunction, wrong_name
from .python_file import read_function
from .sweep import Sweep, read_charts
from .toml_lines import line_of

SECTIONS = ("sweep", "grid", "strong", "weak", "limits")
KEYS = {
    "sweep": ("name", "function", "charts"),
    "strong": ("chips", "by", "batch"),
    "weak": ("chips", "by", "batch_per_chip"),
}


def read_toml(path: Path, text: str) -> Sweep:
    """The sweep of a TOML file.

    Raises:
        SweepFileError: a section, a key or a value is wrong.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) if at else text.count("\n") + 1
        raise SweepFileError(path, line, f"no TOML: {error}") from error
    return _Reader(path, text, {**data, **_with_changes(data)}).sweep()


def _with_changes(data: Mapping[str, Any]) -> dict[str, Any]:
    """The grid with `set.link.gbps = [...]` under that name, however TOML nests it."""
    grid = data.get("grid")
    if not isinstance(grid, dict) or not isinstance(grid.get("set"), dict):
        return {}
    others = {name: values for name, values in grid.items() if name != "set"}
    return {"grid": {**others, **_flat("set", grid["set"])}}


def _flat(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, inner in value.items() for k, v in _flat(f"{name}.{key}", inner).items()}


class _Reader:
    """A parsed file, and its text to find lines in."""

    def __init__(self, path: Path, text: str, data: Mapping[str, Any]) -> None:
        self.path, self.text, self.data = path, text, data

    def sweep(self) -> Sweep:
        self._check_names("section", "", list(self.data), SECTIONS)
        for section, keys in KEYS.items():
            self._check_names(f"key of [{section}]", section, list(self._table(section)), keys)
        for section in SECTIONS[1:4]:
            self._check_lists(section)
        function = self._function()
        if function == PLANNER:
            self._check_plan()
            self._check_names("limit", "limits", list(self._table("limits")), self._names())
        points = list({canonical(point): point for point in self._points()}.values())
        if function != PLANNER:
            wrong = wrong_name(function.load(), list({name: 1 for p in points for name in p}))
            if wrong is not None:
                self._fail("grid", wrong[0], None, wrong[1])
        try:
            limits = read_limits(self._table("limits"))
        except WrongLimit as error:
            self._fail("limits", error.name, None, str(error))
        try:
            charts = read_charts(self._table("sweep").get("charts", ()))
        except ValueError as error:
            self._fail("sweep", "charts", None, str(error))
        if function == PLANNER:
            for name in (name for pair in charts for name in pair):
                if name not in self._names():
                    hint = did_you_mean(nearest_name(name, self._names()))
                    self._fail("sweep", "charts", name, f"no value or result {name!r}{hint}")
        kept = tuple(point for point in points if not broken(limits, point))
        name = str(self._table("sweep").get("name", self.path.stem))
        return Sweep(name, self.path, function, kept, limits, charts)

    def _function(self) -> PointFunction:
        """The planner, or `name` of "file.py:name", a path from this file."""
        wanted = self._table("sweep").get("function", PLANNER.name)
        if wanted == PLANNER.name:
            return PLANNER
        file, _, name = str(wanted).rpartition(":")
        if not file.endswith(".py"):
            hint = did_you_mean(nearest_name(str(wanted), [PLANNER.name]))
            what = f'unknown function {wanted!r}{hint} Known: "plan" and "FILE.py:FUNCTION".'
            self._fail("sweep", "function", wanted, what)
        path = self.path.parent / file
        try:
            return read_function(path, path.read_text(encoding="utf-8"), name)
        except SweepFileError as error:
            self._fail("sweep", "function", wanted, str(error))
        except OSError as error:
            self._fail("sweep", "function", wanted, f"{path}: {error.strerror}")

    def _points(self) -> list[Point]:
        grid, points = self._table("grid"), []
        section = "grid"
        try:
            for section in ("strong", "weak"):
                table = dict(self._table(section))
                batch = {"batch": table.pop("batch")} if "batch" in table else {}
                if table:
                    scaled = strong if section == "strong" else weak
                    points += scaled({**grid, **batch}, **table)
        except (TypeError, ValueError) as error:  # a missing chips or batch_per_chip, too
            self._fail(section, "chips", None, str(error))
        return points if points else product(grid)

    def _table(self, section: str) -> Mapping[str, Any]:
        table = self.data.get(section, {})
        if not isinstance(table, dict):
            self._fail("", section, None, f"{section} must be a table: [{section}]")
        return table

    def _check_names(
        self, what: str, section: str, names: Sequence[str], legal: Sequence[str]
    ) -> None:
        for name in names:
            if name not in legal:
                hint = did_you_mean(nearest_name(name, legal))
                text = f"unknown {what} {name!r}{hint} Known: {', '.join(legal)}."
                self._fail(section, name, None, text)

    def _check_lists(self, section: str) -> None:
        for name, values in self._table(section).items():
            if name == "by":
                if values not in ("tp", "dp"):
                    self._fail(section, name, values, f'by (={values!r}) must be "tp" or "dp"')
                continue
            if not isinstance(values, list) or not values:
                what = f"{name} (={values!r}) must be a list of values: {name} = [{values!r}]"
                self._fail(section, name, None, what)
            for value in values if section != "grid" else ():
                if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                    what = f"{name} must hold whole numbers, 1 or more, and has {value!r}"
                    self._fail(section, name, value, what)

    def _names(self) -> tuple[str, ...]:
        """The names that a row of the planner has."""
        changes = filter(is_change, self._table("grid"))
        return (*VALUES, *RESULTS, *changes)

    def _check_plan(self) -> None:
        grid = self._table("grid")
        if "model" not in grid:
            self._fail("", "grid", None, 'the planner needs a model: model = ["llama-3.1-8b"]')
        for name, values in grid.items():
            for value in values:
                try:
                    check(name, value)
                except (ValueError, MeshtwinError) as error:
                    self._fail("grid", name, value, str(error))

    def _fail(self, section: str, key: str, value: Any, what: str) -> NoReturn:
        raise SweepFileError(self.path, line_of(self.text, section, key, value), what)
