"""Ring algorithms: every position sends to the next one and receives from the one before.

Reduction order: chunk c starts at position c + 1 and goes once round, so its sum is
((x[c+1] + x[c+2]) + ...) + x[c], positions modulo n. It depends on the position only, never on
timing. Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for clusters of
workstations", J. Parallel Distrib. Comput. 69 (2009).
"""

from functools import cache

from ..schedule import Operation, Round, Schedule, Step, StepKind


@cache
def ring_schedule(operation: Operation, num_ranks: int, root: int = 0) -> Schedule:
    """The rounds of a collective on a ring of `num_ranks` positions.

    all_reduce takes 2 (n - 1) rounds and each position sends 2 (n - 1) / n of the tensor;
    reduce_scatter and all_gather take n - 1 rounds and send (n - 1) / n of it. A barrier is an
    all_gather of empty tokens. A broadcast sends n chunks down the ring in a pipeline.
    """
    rounds: tuple[Round, ...]
    if operation is Operation.BROADCAST:
        rounds = _pipeline(num_ranks, root)
    else:
        scatter = operation in (Operation.ALL_REDUCE, Operation.REDUCE_SCATTER)
        gather = operation is not Operation.REDUCE_SCATTER
        rounds = (_reduce_scatter(num_ranks) if scatter else ()) + (
            _all_gather(num_ranks) if gather else ()
        )
    return Schedule(operation, "ring", num_ranks, num_ranks, rounds, root)


def _reduce_scatter(n: int) -> tuple[Round, ...]:
    return tuple(
        tuple(Step(p, (p + 1) % n, (p - 1 - number) % n, StepKind.ADD) for p in range(n))
        for number in range(n - 1)
    )


def _all_gather(n: int) -> tuple[Round, ...]:
    return tuple(
        tuple(Step(p, (p + 1) % n, (p - number) % n, StepKind.COPY) for p in range(n))
        for number in range(n - 1)
    )


def _pipeline(n: int, root: int) -> tuple[Round, ...]:
    """Chunk c leaves the root in round c; in each later round it is one position further on."""
    return tuple(
        tuple(
            Step((root + hop) % n, (root + hop + 1) % n, number - hop, StepKind.COPY)
            for hop in range(n - 1)
            if 0 <= number - hop < n
        )
        for number in range(2 * n - 2)
    )
