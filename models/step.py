"""Which positions of which users a forward pass is of."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefill:
    """The next positions of one user: `start` and those after it. x is [1, S, D]."""

    start: int
    user: int = 0


@dataclass(frozen=True, slots=True)
class Decode:
    """One position of every user, who are the rows of one tile. x is [1, 1, B, D].

    A user at position -1 sits out: nothing is written for it, and what comes out is of no use.
    """

    positions: tuple[int, ...]


Step = Prefill | Decode
