"""What became of one point, and how a function is called on it."""

import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .plain import plain
from .point_function import Function, PointFunction

RESERVED = ("error", "limits", "meshtwin", "code", "constants")
"""Columns of the results that are neither values nor results of a point."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A point's result, or the error that came instead.

    Attributes:
        values: of the point.
        result: what the function returned; None when it failed.
        error: "" or the error's type, text and place.
        wall_s: how long it took.
    """

    values: Mapping[str, Any]
    result: Mapping[str, Any] | None
    error: str
    wall_s: float


def evaluate_chunk(function: PointFunction, points: Sequence[Mapping[str, Any]]) -> list[Outcome]:
    """Call the function on some points, one after the other; what it raises is an outcome."""
    call = function.load()
    return [_outcome(call, function, values) for values in points]


def failed(values: Mapping[str, Any], error: str) -> Outcome:
    """A point that failed without being heard of again, as when its process died."""
    return Outcome(values, None, error, 0.0)


def _outcome(call: Function, function: PointFunction, values: Mapping[str, Any]) -> Outcome:
    begin_s = time.perf_counter()
    try:
        result = _checked(call(**values), values)
    except Exception as error:  # anything the user's function may raise
        text = f"{type(error).__name__}: {error}{_place(error, function.path)}"
        return Outcome(values, None, text, time.perf_counter() - begin_s)
    return Outcome(values, result, "", time.perf_counter() - begin_s)


def _checked(result: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(result, Mapping):
        raise TypeError(f"the function must return a dict, and returned {result!r}")
    found: dict[str, Any] = plain(result)
    for name in (*values, *found):
        if name in RESERVED:
            raise ValueError(f"{name!r} is a column of its own: give yours another name")
    for name, value in found.items():
        if name in values and values[name] != value:
            raise ValueError(
                f"the result's {name!r} is {value!r}, and the point's {values[name]!r}"
            )
    return found


def _place(error: Exception, path: str) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if path and frame.filename == path]
    return f" (at {path}:{lines[-1]})" if lines else ""
