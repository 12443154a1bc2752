"""A sweep as its file describes it: a function, points, limits."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SweepFileError
from ..given_file import read_given
from .limits import Limit
from .point_function import PointFunction


@dataclass(frozen=True, slots=True)
class Sweep:
    """What to run.

    Attributes:
        points: values by name, each point once, in the order of the results.
        limits: on values (points outside were left out) and on results (rows say so).
        charts: names (x, y) to draw besides what is always drawn.
    """

    name: str
    path: Path
    function: PointFunction
    points: tuple[dict[str, Any], ...]
    limits: tuple[Limit, ...] = ()
    charts: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of the points' values."""
        return list({name: None for point in self.points for name in point})


def read_charts(charts: Any) -> tuple[tuple[str, str], ...]:
    """Charts of a file's list of pairs [x, y].

    Raises:
        ValueError: it is something else.
    """
    for pair in charts if isinstance(charts, (list, tuple)) else [charts]:
        is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2
        if not is_pair or not all(isinstance(name, str) for name in pair):
            raise ValueError(f'charts must be pairs of names [["x", "y"]], and have {pair!r}')
    return tuple((x, y) for x, y in charts)


def read_sweep(path: Path) -> Sweep:
    """Read a sweep's file.

    Raises:
        SweepFileError: it is wrong; names the line and the nearest legal value.
        UnreadableFile: it is no file, or no text.
    """
    from .python_file import read_python
    from .toml_file import read_toml

    readers = {".py": read_python, ".toml": read_toml}
    if path.suffix not in readers:
        raise SweepFileError(path, 1, "a sweep is a .toml or a .py file")
    sweep = readers[path.suffix](path, read_given(path))
    if not sweep.points:
        raise SweepFileError(path, 1, "the sweep has no points")
    return sweep
