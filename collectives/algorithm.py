"""An algorithm: a function that gives the steps of a collective for a team of chips.

    @algorithm("star", Layout.RANK, Operation.BROADCAST)
    def star(operation, team, root):
        return [[Step(root, dst, 0, COPY) for dst in range(team.num_ranks) if dst != root]]

    chip.broadcast(x, algorithm=star)

Everything else (values, time, verification, drawing) follows from the steps.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from ..chip.errors import did_you_mean, nearest_name
from .errors import AlgorithmError
from .operation import Operation
from .schedule import Schedule, Step


class Layout(Enum):
    """How the chips of a group stand at the positions of an algorithm."""

    RING = "ring"  # neighbours are adjacent, and the last one is adjacent to the first
    LINE = "line"  # neighbours are adjacent where the links allow it
    GRID = "grid"  # row by row over a rectangle of the mesh
    RANK = "rank"  # by ascending rank


@dataclass(frozen=True, slots=True)
class Team:
    """The positions that an algorithm plans for: 0 .. num_ranks - 1.

    `shape` is (rows, columns) for Layout.GRID, else (1, num_ranks); `wraps` says of each of the
    two axes whether its last position is adjacent to its first.
    """

    num_ranks: int
    shape: tuple[int, int]
    wraps: tuple[bool, bool] = (False, False)


Steps: TypeAlias = Iterable[Iterable[Step]]
Planner: TypeAlias = Callable[[Operation, Team, int], Steps]


@dataclass(frozen=True)
class Algorithm:
    """A named planner: `steps(operation, team, root)` gives rounds of steps.

    The number of chunks is the highest one named plus one (at least one for each part).
    """

    name: str
    layout: Layout
    operations: frozenset[Operation]
    steps: Planner
    _known: dict[tuple[Operation, Team, int], Schedule] = field(
        default_factory=dict, compare=False, repr=False
    )

    def schedule(self, operation: Operation, team: Team, root: int = 0) -> Schedule:
        """The schedule of a collective; made once for each team.

        Raises:
            AlgorithmError: the algorithm cannot do this operation, or not on this team.
            ScheduleError: the steps name no whole number of chunks for each part.
        """
        if operation not in self.operations:
            able = ", ".join(sorted(known.label for known in self.operations))
            raise AlgorithmError(self.name, operation.label, f"it does {able}")
        key = (operation, team, root)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._plan(operation, team, root)
        return known

    def _plan(self, operation: Operation, team: Team, root: int) -> Schedule:
        n = team.num_ranks
        rounds = tuple(map(tuple, self.steps(operation, team, root))) if n > 1 else ()
        parts = operation.num_parts(n)
        highest = max((step.chunk for steps in rounds for step in steps), default=0)
        num_chunks = -(-(highest + 1) // parts) * parts
        return Schedule(operation, self.name, n, num_chunks, rounds, root)

    def __reduce__(self) -> tuple[object, ...]:
        if self.steps.__module__.startswith(BUILT_IN):
            return _built_in, (self.name,)
        return Algorithm, (self.name, self.layout, self.operations, self.steps)


def algorithm(name: str, layout: Layout, *operations: Operation) -> Callable[[Planner], Algorithm]:
    """Make an algorithm of a function; pass it as `algorithm=` to a collective, or register it."""

    def wrap(steps: Planner) -> Algorithm:
        return Algorithm(name, layout, frozenset(operations), steps)

    return wrap


BUILT_IN = f"{__package__}.algorithms."
_registered: dict[str, Algorithm] = {}


def register(new: Algorithm) -> Algorithm:
    """Let an algorithm be found by its name in this process, and be tried by "auto".

    Raises:
        AlgorithmError: another one has that name.
    """
    known = _registered.get(new.name)
    if known is not None and known is not new:
        raise AlgorithmError(new.name, "any operation", "an algorithm of that name is registered")
    _registered[new.name] = new
    return new


def unregister(name: str) -> None:
    """Forget an algorithm."""
    _registered.pop(name, None)


def algorithms() -> Mapping[str, Algorithm]:
    """Every registered algorithm, by name, in the order in which they were registered."""
    return MappingProxyType(_registered)


def find(name: str, operation: Operation) -> Algorithm:
    """The registered algorithm of that name.

    Raises:
        AlgorithmError: there is none; names the nearest.
    """
    found = _registered.get(name)
    if found is None:
        known = [known.name for known in _registered.values() if operation in known.operations]
        hint = did_you_mean(nearest_name(name, known))
        raise AlgorithmError(
            name, operation.label, f"no such algorithm{hint} Known: auto, {', '.join(known)}"
        )
    return found


def _built_in(name: str) -> Algorithm:
    """An algorithm of our own in another process."""
    return _registered[name]
