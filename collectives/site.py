"""Where in the user's program a call was made."""

import sys
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import TypeAlias

Site: TypeAlias = tuple[CodeType, int]
"""The code that called, and the instruction in it: cheap to take, and made into a line later."""


def call_site(depth: int) -> Site:
    """The site `depth` frames above the caller of this function."""
    frame = sys._getframe(depth + 1)
    return frame.f_code, frame.f_lasti


@lru_cache(maxsize=4096)
def line_of(site: Site) -> str:
    """A site as `file.py:12`."""
    code, instruction = site
    lines = list(code.co_positions())
    line = lines[instruction // 2][0] if 0 <= instruction // 2 < len(lines) else None
    return f"{Path(code.co_filename).name}:{line or code.co_firstlineno}"
