"""A collective as explicit steps: who sends which chunk to whom, and who adds in which order.

Theory of operation. A group of n chips stands at positions 0..n-1 (for a ring, in ring order). The
tensor is cut into chunks. A schedule is a list of rounds; a round is a list of steps that read the
state as it was before the round. A COPY step replaces the receiver's chunk; an ADD step makes it
`received + own`. One schedule serves three purposes: `execute` moves the values, `simulate` gives
the time, and `contributions` says on paper in which order each chunk was added, so that a direct
execution in shared memory can add in that very order and give the same bits.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TypeAlias, Union

from .errors import ScheduleError

Sum: TypeAlias = Union[int, tuple["Sum", "Sum"]]  # noqa: UP007 (an alias of itself)
"""How a value was added: a position's own value, or (left + right)."""


@dataclass(frozen=True, slots=True)
class Order:
    """A sum from left to right: ((p0 + p1) + p2) + ... of these positions."""

    positions: tuple[int, ...]


class Operation(Enum):
    """The collectives that have schedules."""

    ALL_REDUCE = "all_reduce"
    REDUCE_SCATTER = "reduce_scatter"
    ALL_GATHER = "all_gather"
    BROADCAST = "broadcast"
    BARRIER = "barrier"


class StepKind(Enum):
    """What the receiver does with the chunk that arrives."""

    COPY = "copy"
    ADD = "add"


@dataclass(frozen=True, slots=True)
class Step:
    """One chunk going from one position to another."""

    src: int
    dst: int
    chunk: int
    kind: StepKind


Round: TypeAlias = tuple[Step, ...]
State: TypeAlias = list[dict[int, Sum]]


@dataclass(frozen=True)
class Schedule:
    """The rounds of one collective over `num_ranks` positions and `num_chunks` chunks.

    Position i starts with every chunk for all_reduce and reduce_scatter, with chunk i for
    all_gather and barrier, and the root starts with every chunk for broadcast. Position i ends
    with every chunk, except for reduce_scatter, where it ends with chunk i.
    """

    operation: Operation
    algorithm: str
    num_ranks: int
    num_chunks: int
    rounds: tuple[Round, ...]
    root: int = 0

    @cached_property
    def contributions(self) -> tuple[dict[int, Sum], ...]:
        """For each position, how the value of each chunk that it holds at the end was added up.

        Raises:
            ScheduleError: a step sends a chunk that its sender does not have, or a position does
                not end with every contribution exactly once.
        """
        state = self._start()
        for number, steps in enumerate(self.rounds):
            state = self._after(state, steps, number)
        self._check_end(state)
        return tuple(state)

    def sums(self, position: int) -> dict[int, Sum | Order]:
        """`contributions` of a position, with an Order where a sum goes from left to right."""
        return self._sums[position]

    @cached_property
    def _sums(self) -> tuple[dict[int, Sum | Order], ...]:
        return tuple(
            {chunk: left_fold(how) or how for chunk, how in end.items()}
            for end in self.contributions
        )

    def wanted(self, position: int) -> tuple[int, ...]:
        """The chunks that a position holds at the end."""
        if self.operation is Operation.REDUCE_SCATTER:
            return (position,)
        return tuple(range(self.num_chunks))

    def _start(self) -> State:
        everything = range(self.num_chunks)
        if self.operation in (Operation.ALL_REDUCE, Operation.REDUCE_SCATTER):
            return [dict.fromkeys(everything, rank) for rank in range(self.num_ranks)]
        if self.operation is Operation.BROADCAST:
            empty: State = [{} for _ in range(self.num_ranks)]
            empty[self.root] = dict.fromkeys(everything, self.root)
            return empty
        return [{rank: rank} for rank in range(self.num_ranks)]

    def _after(self, state: State, steps: Round, number: int) -> State:
        after: State = [dict(chunks) for chunks in state]
        for step in steps:
            if step.chunk not in state[step.src]:
                raise ScheduleError(
                    f"{self.algorithm} {self.operation.value}: in round {number} position "
                    f"{step.src} sends chunk {step.chunk}, which it does not have"
                )
            value = state[step.src][step.chunk]
            if step.kind is StepKind.ADD:
                value = (value, after[step.dst][step.chunk])
            after[step.dst][step.chunk] = value
        return after

    def _check_end(self, state: State) -> None:
        reduces = self.operation in (Operation.ALL_REDUCE, Operation.REDUCE_SCATTER)
        for position in range(self.num_ranks):
            for chunk in self.wanted(position):
                got = sorted(leaves(state[position].get(chunk)))
                source = self.root if self.operation is Operation.BROADCAST else chunk
                want = list(range(self.num_ranks)) if reduces else [source]
                if got != want:
                    raise ScheduleError(
                        f"{self.algorithm} {self.operation.value}: position {position} ends with "
                        f"chunk {chunk} from positions {got}, expected {want}"
                    )


def leaves(value: Sum | None) -> list[int]:
    """The positions whose values were added, in order, each as often as it was added."""
    if value is None:
        return []
    if isinstance(value, int):
        return [value]
    left, right = value
    return leaves(left) + leaves(right)


def left_fold(value: Sum) -> Order | None:
    """The order of a sum that is ((a + b) + c) + ..., else None."""
    order: list[int] = []
    while isinstance(value, tuple):
        value, last = value
        if not isinstance(last, int):
            return None
        order.append(last)
    order.append(value)
    return Order(tuple(reversed(order)))
