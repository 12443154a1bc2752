"""Binomial trees: log2(n) rounds, for messages whose latency counts more than their size.

Positions are counted from the root, v = (p - root) mod n. Reduction order: v adds the sum of the
subtree that starts at v + m to its own, for m = 1, 2, 4, ... Source: Thakur, Rabenseifner and
Gropp, "Optimization of collective communication operations in MPICH", IJHPCA 19 (2005).
"""

from ..algorithm import Layout, Steps, Team, algorithm
from ..operation import Operation
from ..schedule import Step, StepKind


@algorithm(
    "tree",
    Layout.RANK,
    Operation.ALL_REDUCE,
    Operation.BROADCAST,
    Operation.REDUCE,
    Operation.GATHER,
    Operation.SCATTER,
)
def tree(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective on a binomial tree; an all_reduce is a reduce and a broadcast."""
    n = team.num_ranks
    if operation is Operation.BROADCAST:
        return _down(n, root)
    if operation is Operation.REDUCE:
        return _up(n, root)
    if operation is Operation.ALL_REDUCE:
        return _up(n, root) + _down(n, root)
    down = [
        [
            Step((v + root) % n, (v + m + root) % n, (below + root) % n, StepKind.COPY)
            for v, m in pairs
            for below in range(v + m, min(v + 2 * m, n))
        ]
        for pairs in _pairs(n)
    ]
    if operation is Operation.SCATTER:
        return down
    return [[Step(s.dst, s.src, s.chunk, s.kind) for s in steps] for steps in down[::-1]]


def _pairs(n: int) -> list[list[tuple[int, int]]]:
    """For each round from the root down: who sends (v), and how far (m)."""
    rounds = []
    m = 1 << (n - 1).bit_length() >> 1
    while m:
        rounds.append([(v, m) for v in range(0, n, 2 * m) if v + m < n])
        m //= 2
    return rounds


def _down(n: int, root: int) -> list[list[Step]]:
    return [
        [Step((v + root) % n, (v + m + root) % n, 0, StepKind.COPY) for v, m in pairs]
        for pairs in _pairs(n)
    ]


def _up(n: int, root: int) -> list[list[Step]]:
    return [
        [Step((v + m + root) % n, (v + root) % n, 0, StepKind.REDUCE) for v, m in pairs]
        for pairs in _pairs(n)[::-1]
    ]
