"""Recursive halving and doubling: partners at distance n/2, n/4, ... 1 exchange halves.

Reduction order: x[p] is added to the sum of the partner at distance m, for m = n/2 down to 1, so
every chunk is summed in one balanced tree. Source: Rabenseifner, "Optimization of collective
reduction operations", ICCS 2004.
"""

from ..algorithm import Layout, Steps, Team, algorithm
from ..errors import AlgorithmError
from ..operation import Operation
from ..schedule import Step, StepKind


@algorithm(
    "halving",
    Layout.RANK,
    Operation.ALL_REDUCE,
    Operation.REDUCE_SCATTER,
    Operation.ALL_GATHER,
    Operation.BARRIER,
)
def halving(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective on a power of two of positions.

    reduce_scatter halves what is exchanged in each of log2(n) rounds, all_gather doubles it, and
    an all_reduce is the one after the other.
    """
    n = team.num_ranks
    if n & (n - 1):
        below = 1 << n.bit_length() - 1
        raise AlgorithmError(
            "halving", operation.label,
            f"it needs a power of two of chips, the nearest to {n} are {below} and {2 * below}",
        )  # fmt: skip
    distances = [1 << bit for bit in range(n.bit_length() - 1)]
    halve = [
        [
            Step(p, p ^ m, chunk, StepKind.REDUCE)
            for p in range(n)
            for chunk in range(n)
            if (chunk ^ p ^ m) < m
        ]
        for m in distances[::-1]
    ]
    double = [
        [
            Step(p, p ^ m, chunk, StepKind.COPY)
            for p in range(n)
            for chunk in range(n)
            if (chunk ^ p) < m
        ]
        for m in distances
    ]
    if operation is Operation.REDUCE_SCATTER:
        return halve
    return halve + double if operation is Operation.ALL_REDUCE else double
