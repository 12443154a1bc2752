"""Ring algorithms: every position sends to the next one and receives from the one before.

Reduction order: chunk c starts at position c + 1 and goes once round, so its sum is
((x[c+1] + x[c+2]) + ...) + x[c], positions modulo n. It depends on the position only, never on
timing. Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", J. Parallel Distrib. Comput. 69 (2009).
"""

from ..algorithm import Layout, Steps, Team, algorithm
from ..operation import Operation
from ..schedule import Step, StepKind


@algorithm(
    "ring",
    Layout.RING,
    Operation.ALL_REDUCE,
    Operation.REDUCE_SCATTER,
    Operation.ALL_GATHER,
    Operation.BROADCAST,
    Operation.REDUCE,
    Operation.BARRIER,
)
def ring(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective on a ring.

    all_reduce takes 2 (n - 1) rounds and each position sends 2 (n - 1) / n of the tensor;
    reduce_scatter and all_gather take n - 1 rounds and send (n - 1) / n of it. A barrier is an
    all_gather of empty tokens. A broadcast sends n chunks down the ring in a pipeline, and a
    reduce the same, adding on the way to the root (x[root+1] + x[root+2]) + ... + x[root].
    """
    n = team.num_ranks
    if operation is Operation.BROADCAST:
        return _pipeline(n, root, StepKind.COPY)
    if operation is Operation.REDUCE:
        return _pipeline(n, (root + 1) % n, StepKind.REDUCE)
    if operation is Operation.REDUCE_SCATTER:
        return ring_reduce_scatter(n)
    if operation is Operation.ALL_REDUCE:
        return ring_reduce_scatter(n) + ring_all_gather(n)
    return ring_all_gather(n)


def ring_reduce_scatter(n: int) -> list[list[Step]]:
    """The rounds after which position p holds the sum of chunk p."""
    return [
        [Step(p, (p + 1) % n, (p - 1 - number) % n, StepKind.REDUCE) for p in range(n)]
        for number in range(n - 1)
    ]


def ring_all_gather(n: int) -> list[list[Step]]:
    """The rounds after which everybody holds every chunk, chunk p from position p."""
    return [
        [Step(p, (p + 1) % n, (p - number) % n, StepKind.COPY) for p in range(n)]
        for number in range(n - 1)
    ]


def _pipeline(n: int, start: int, kind: StepKind) -> list[list[Step]]:
    """Chunk c leaves `start` in round c; in each later round it is one position further on."""
    return [
        [
            Step((start + hop) % n, (start + hop + 1) % n, number - hop, kind)
            for hop in range(n - 1)
            if 0 <= number - hop < n
        ]
        for number in range(2 * n - 2)
    ]
