"""Line algorithms: neighbours on a line exchange in both directions; the ends have one neighbour.

Reduction order: the partial sums of chunk c come to position c from both ends,
L = (x[0] + x[1]) + ... + x[c-1] and R = (x[n-1] + x[n-2]) + ... + x[c+1], and position c makes
R + (L + x[c]). It depends on the position only, never on timing.
"""

from functools import cache

from ..schedule import Operation, Round, Schedule, Step, StepKind


@cache
def line_schedule(operation: Operation, num_ranks: int, root: int = 0) -> Schedule:
    """The rounds of a collective on a line of `num_ranks` positions.

    reduce_scatter and all_gather take n - 1 rounds and the busiest link direction carries
    (n - 1) / n of the tensor; all_reduce is the one after the other. A broadcast runs from the
    root to both ends, in n chunks that follow one another.
    """
    if operation is Operation.BROADCAST:
        return Schedule(operation, "line", num_ranks, num_ranks, _spread(num_ranks, root), root)
    scatter = operation in (Operation.ALL_REDUCE, Operation.REDUCE_SCATTER)
    gather = operation is not Operation.REDUCE_SCATTER
    rounds = (_reduce_scatter(num_ranks) if scatter else ()) + (
        _all_gather(num_ranks) if gather else ()
    )
    return Schedule(operation, "line", num_ranks, num_ranks, rounds, root)


def _all_gather(n: int) -> tuple[Round, ...]:
    """In round r chunk c reaches the positions at distance r + 1 from c."""
    return tuple(
        tuple(
            Step(c + toward * number, c + toward * (number + 1), c, StepKind.COPY)
            for c in range(n)
            for toward in (1, -1)
            if 0 <= c + toward * (number + 1) < n
        )
        for number in range(n - 1)
    )


def _reduce_scatter(n: int) -> tuple[Round, ...]:
    """The mirror of all_gather: in round r chunk c leaves the positions at distance n - 1 - r."""
    return tuple(
        tuple(
            Step(c + away * distance, c + away * (distance - 1), c, StepKind.ADD)
            for c in range(n)
            for away in (-1, 1)
            if 0 <= c + away * distance < n
        )
        for distance in range(n - 1, 0, -1)
    )


def _spread(n: int, root: int) -> tuple[Round, ...]:
    """Chunk c leaves the root in round c, toward both ends, one position a round."""
    furthest = max(root, n - 1 - root)
    return tuple(
        tuple(
            Step(root + toward * hop, root + toward * (hop + 1), number - hop, StepKind.COPY)
            for hop in range(furthest)
            for toward in (1, -1)
            if 0 <= root + toward * (hop + 1) < n and 0 <= number - hop < n
        )
        for number in range(n + furthest - 1 if n > 1 else 0)
    )
