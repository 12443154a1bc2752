"""The loops that convert arrays: compiled (convert.c), or else numpy (plain.py), bit for bit."""

from typing import Any

from . import plain

try:
    from . import _convert  # type: ignore[attr-defined, unused-ignore]

    chosen: Any = _convert
    COMPILED = True
except ImportError:  # chip.kernels warns of what is not compiled
    chosen = plain
    COMPILED = False
