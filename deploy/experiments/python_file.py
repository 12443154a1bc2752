"""Sweeps in Python: a file with `def point(**values) -> dict` and a `grid`."""

import ast
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...chip.errors import did_you_mean, nearest_name
from ..errors import SweepFileError
from .grid import Point, product
from .limits import WrongLimit, broken, read_limits
from .plain import canonical, plain
from .point_function import PointFunction, module_of, wrong_name
from .sweep import Sweep, read_charts


def read_python(path: Path, source: str) -> Sweep:
    """The sweep of a Python file; the file is run.

    Raises:
        SweepFileError: the file does not run, or lacks `point` or `grid`, or they do not fit.
    """
    function = read_function(path, source, "point")
    module = module_of(str(path), source)
    tree = ast.parse(source)
    if not hasattr(module, "grid"):
        raise SweepFileError(path, 1, _missing("grid", "a dict of lists, or a list of dicts", tree))
    line = line_of_name(tree, "grid")
    points = _points(path, line, module.grid)
    for names in {tuple(point): None for point in points}:
        wrong = wrong_name(function.load(), list(names))
        if wrong is not None:
            raise SweepFileError(path, line_of_text(tree, wrong[0], line), wrong[1])
    try:
        limits = read_limits(getattr(module, "limits", {}))
    except WrongLimit as error:
        at = line_of_text(tree, error.name, line_of_name(tree, "limits"))
        raise SweepFileError(path, at, str(error)) from error
    try:
        charts = read_charts(getattr(module, "charts", ()))
    except ValueError as error:
        raise SweepFileError(path, line_of_name(tree, "charts"), str(error)) from error
    kept = tuple(point for point in points if not broken(limits, point))
    return Sweep(str(getattr(module, "name", path.stem)), path, function, kept, limits, charts)


def read_function(path: Path, source: str, name: str) -> PointFunction:
    """A function of a Python file.

    Raises:
        SweepFileError: the file does not run, or has no such function.
    """
    try:
        tree = ast.parse(source, str(path))
        module = module_of(str(path), source)
    except SyntaxError as error:
        raise SweepFileError(path, error.lineno or 1, f"syntax error: {error.msg}") from error
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        what = f"{type(error).__name__}: {error}"
        raise SweepFileError(path, (lines or [1])[-1] or 1, what) from error
    if not callable(getattr(module, name, None)):
        raise SweepFileError(path, 1, _missing(name, "def point(**values) -> dict", tree))
    return PointFunction(name, str(path), source)


def _points(path: Path, line: int, grid: Any) -> list[Point]:
    try:
        if isinstance(grid, Mapping):
            for name, values in grid.items():
                if isinstance(values, str) or not hasattr(values, "__iter__"):
                    raise TypeError(f"{name} (={values!r}) must be a list of values")
            points = product({name: list(values) for name, values in grid.items()})
        else:
            points = [{str(name): plain(value) for name, value in p.items()} for p in grid]
    except (TypeError, AttributeError) as error:
        what = f"grid must be a dict of lists or a list of dicts: {error}"
        raise SweepFileError(path, line, what) from error
    return list({canonical(point): point for point in points}.values())


def line_of_name(tree: ast.Module, name: str) -> int:
    """The line where a module's name is assigned, or 1."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets = [node.target]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return node.lineno
    return 1


def line_of_text(tree: ast.Module, text: str, start: int) -> int:
    """The first line from `start` on that has this text as a constant or a keyword, or `start`."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == text:
            lines.append(node.lineno)
        if isinstance(node, ast.keyword) and node.arg == text:
            lines.append(node.value.lineno)
    return min((line for line in lines if line >= start), default=start)


def _missing(name: str, what: str, tree: ast.Module) -> str:
    lines = {
        node.name: node.lineno
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    } | {
        target.id: node.lineno
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    near = nearest_name(name, list(lines))
    hint = f"{did_you_mean(near)} (line {lines[near]})" if near else ""
    return f"the file defines no {name!r} ({what}){hint}"
