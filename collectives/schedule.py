"""A collective as explicit steps: who sends which chunk to whom, and who adds in which order.

Theory of operation. A group of n chips stands at positions 0..n-1 (for a ring, in ring order). The
data falls in parts (see operation.py), and each part in as many pieces as the algorithm likes; a
chunk is one piece: chunk = part * pieces + piece. A schedule is a list of rounds; a round is a
list of steps that read the state as it was before the round. A COPY step replaces the receiver's
chunk; a REDUCE step makes it `received + own`. One schedule serves every purpose: `execute`
moves the values, `simulate` gives the time, `verify` proves it right, and `contributions` says on
paper in which order each chunk was added, so that a direct execution in shared memory can add in
that very order and give the same bits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TypeAlias, Union

from .errors import ScheduleError
from .operation import Operation

Sum: TypeAlias = Union[int, tuple["Sum", "Sum"]]  # noqa: UP007 (an alias of itself)
"""How a value was added: a position's own value, or (received + own)."""


class StepKind(Enum):
    """What the receiver does with the chunk that arrives."""

    COPY = "copy"
    REDUCE = "reduce"


@dataclass(frozen=True, slots=True)
class Step:
    """One chunk going from one position to another."""

    src: int
    dst: int
    chunk: int
    kind: StepKind


Round: TypeAlias = tuple[Step, ...]
State: TypeAlias = list[dict[int, Sum]]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The rounds of one collective over `num_ranks` positions and `num_chunks` chunks.

    What positions start and end with is the operation's promise; `root` is a position.
    """

    operation: Operation
    algorithm: str
    num_ranks: int
    num_chunks: int
    rounds: tuple[Round, ...]
    root: int = 0

    @property
    def num_parts(self) -> int:
        """In how many parts the data falls."""
        return self.operation.num_parts(self.num_ranks)

    @property
    def pieces(self) -> int:
        """In how many chunks each part is cut."""
        return self.num_chunks // self.num_parts

    def chunks_of(self, parts: Sequence[int]) -> list[int]:
        """The chunks of some parts, in order."""
        pieces = self.pieces
        return [chunk for part in parts for chunk in range(part * pieces, (part + 1) * pieces)]

    def chunks_at_start(self, position: int) -> list[int]:
        """The chunks that a position starts with."""
        return self.chunks_of(self.operation.parts_at_start(self.num_ranks, position, self.root))

    def chunks_at_end(self, position: int) -> list[int]:
        """The chunks that a position must end with."""
        return self.chunks_of(self.operation.parts_at_end(self.num_ranks, position, self.root))

    @cached_property
    def contributions(self) -> tuple[dict[int, Sum], ...]:
        """For each position, how the value of each chunk that it must end with was added up.

        Raises:
            ScheduleError: a step names a position or chunk that does not exist, or sends a chunk
                that its sender does not have; or a position does not end with every contribution
                exactly once.
        """
        state: State = [
            dict.fromkeys(self.chunks_at_start(position), position)
            for position in range(self.num_ranks)
        ]
        for number, steps in enumerate(self.rounds):
            self._apply(state, steps, number)
        return tuple(self._end(state, position) for position in range(self.num_ranks))

    @cached_property
    def fingerprint(self) -> str:
        """8 hex digits that differ where the rounds differ."""
        rounds = [[(s.src, s.dst, s.chunk, s.kind.value) for s in steps] for steps in self.rounds]
        words = repr((self.num_chunks, rounds)).encode()
        return hashlib.blake2b(words, digest_size=4).hexdigest()

    @cached_property
    def adds_to_copies(self) -> bool:
        """Is a chunk ever added to a copy that came from another position?"""
        copies: set[tuple[int, int]] = set()
        for step in (step for steps in self.rounds for step in steps):
            if step.kind is StepKind.COPY:
                copies.add((step.dst, step.chunk))
            elif (step.dst, step.chunk) in copies:
                return True
        return False

    def _apply(self, state: State, steps: Round, number: int) -> None:
        """One round: all steps read first, then they land in the order of the round."""
        sent = [self._read(state, step, number) for step in steps]
        for step, value in zip(steps, sent, strict=True):
            there = state[step.dst]
            if step.kind is StepKind.REDUCE:
                if step.chunk not in there:
                    raise self._wrong(
                        step, number, f"position {step.dst} has no chunk {step.chunk} to add to"
                    )
                value = (value, there[step.chunk])
            there[step.chunk] = value

    def _read(self, state: State, step: Step, number: int) -> Sum:
        n = self.num_ranks
        if not (0 <= step.src < n and 0 <= step.dst < n and step.src != step.dst):
            raise self._wrong(step, number, f"positions are 0 to {n - 1}, and two different ones")
        if not 0 <= step.chunk < self.num_chunks:
            raise self._wrong(step, number, f"chunks are 0 to {self.num_chunks - 1}")
        if step.chunk not in state[step.src]:
            holders = [p for p in range(n) if step.chunk in state[p]]
            raise self._wrong(
                step, number,
                f"position {step.src} does not have chunk {step.chunk} then "
                f"(held by positions {holders})",
            )  # fmt: skip
        return state[step.src][step.chunk]

    def _end(self, state: State, position: int) -> dict[int, Sum]:
        """What a position ends with, after a check that it is what the operation promises."""
        ends: dict[int, Sum] = {}
        for chunk in self.chunks_at_end(position):
            got = sorted(leaves(state[position].get(chunk)))
            part = chunk // self.pieces
            want = list(self.operation.sources(self.num_ranks, part, self.root))
            if got != want:
                raise ScheduleError(
                    f"{self.algorithm} {self.operation.label}: position {position} ends with "
                    f"chunk {chunk} from positions {got}, expected {want}"
                )
            ends[chunk] = state[position][chunk]
        return ends

    def _wrong(self, step: Step, number: int, why: str) -> ScheduleError:
        return ScheduleError(
            f"{self.algorithm} {self.operation.label}: in round {number} position {step.src} "
            f"sends chunk {step.chunk} to position {step.dst} ({step.kind.value}), but {why}"
        )


def leaves(value: Sum | None) -> list[int]:
    """The positions whose values were added, in order, each as often as it was added."""
    found: list[int] = []
    pending = [] if value is None else [value]
    while pending:
        top = pending.pop()
        if isinstance(top, int):
            found.append(top)
        else:
            pending += (top[1], top[0])
    return found


def same_sum(a: Sum, b: Sum) -> bool:
    """Do two sums give the same bits? Each addition may have its two sides exchanged."""
    return _canonical(a) == _canonical(b)


def _canonical(value: Sum) -> Sum:
    """The sum with the side of the lowest position first, everywhere."""
    if isinstance(value, int):
        return value
    left, right = _canonical(value[0]), _canonical(value[1])
    return (left, right) if _first(left) <= _first(right) else (right, left)


def _first(value: Sum) -> int:
    """The lowest position of a canonical sum."""
    while isinstance(value, tuple):
        value = value[0]
    return value
