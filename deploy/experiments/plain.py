"""Plain values: what JSON can say. The points of a sweep and its results are made of them."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """The value as JSON has it: numpy scalars and arrays, tuples and mappings are converted.

    Raises:
        TypeError: it is, or holds, something else.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    raise TypeError(f"{value!r} is neither a number, a text, a list nor a table")


def canonical(value: Any) -> str:
    """One text for equal plain values, whatever the order of their names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def text_of(value: Any) -> str:
    """A value for people and for CSV: a text as it is, lists and tables as JSON, None as ""."""
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return canonical(value)
    return str(value)
