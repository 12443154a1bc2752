"""Line algorithms: neighbours on a line exchange in both directions; the ends have one neighbour.

Reduction order: the partial sums of chunk c come to position c from both ends,
L = (x[0] + x[1]) + ... + x[c-1] and R = (x[n-1] + x[n-2]) + ... + x[c+1], and position c makes
L + (R + x[c]). It depends on the position only, never on timing.
"""

from ..algorithm import Layout, Steps, Team, algorithm
from ..operation import Operation
from ..schedule import Step, StepKind


@algorithm(
    "line",
    Layout.LINE,
    Operation.ALL_REDUCE,
    Operation.REDUCE_SCATTER,
    Operation.ALL_GATHER,
    Operation.BROADCAST,
    Operation.REDUCE,
    Operation.GATHER,
    Operation.SCATTER,
    Operation.BARRIER,
)
def line(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective on a line.

    reduce_scatter and all_gather take n - 1 rounds and the busiest link direction carries
    (n - 1) / n of the tensor; all_reduce is the one after the other. A broadcast runs from the
    root to both ends, in n chunks that follow one another; a reduce comes from both ends. In a
    gather all parts move toward the root at once; in a scatter the furthest leaves first.
    """
    n = team.num_ranks
    if operation is Operation.BROADCAST:
        return _spread(n, root)
    if operation is Operation.REDUCE:
        return _mirror(_spread(n, root), StepKind.REDUCE)
    if operation is Operation.GATHER:
        return _toward(n, root)
    if operation is Operation.SCATTER:
        return _mirror(_toward(n, root), StepKind.COPY)
    if operation is Operation.REDUCE_SCATTER:
        return line_reduce_scatter(n)
    if operation is Operation.ALL_REDUCE:
        return line_reduce_scatter(n) + line_all_gather(n)
    return line_all_gather(n)


def line_all_gather(n: int) -> list[list[Step]]:
    """In round r chunk c reaches the positions at distance r + 1 from c."""
    return [
        [
            Step(c + toward * number, c + toward * (number + 1), c, StepKind.COPY)
            for c in range(n)
            for toward in (1, -1)
            if 0 <= c + toward * (number + 1) < n
        ]
        for number in range(n - 1)
    ]


def line_reduce_scatter(n: int) -> list[list[Step]]:
    """The mirror of all_gather: in round r chunk c leaves the positions at distance n - 1 - r."""
    return _mirror(line_all_gather(n), StepKind.REDUCE)


def _mirror(rounds: list[list[Step]], kind: StepKind) -> list[list[Step]]:
    """The same steps from the last to the first, each the other way."""
    return [
        [Step(step.dst, step.src, step.chunk, kind) for step in steps] for steps in rounds[::-1]
    ]


def _spread(n: int, root: int) -> list[list[Step]]:
    """Chunk c leaves the root in round c, toward both ends, one position a round."""
    furthest = max(root, n - 1 - root)
    return [
        [
            Step(root + toward * hop, root + toward * (hop + 1), number - hop, StepKind.COPY)
            for hop in range(furthest)
            for toward in (1, -1)
            if 0 <= root + toward * (hop + 1) < n and 0 <= number - hop < n
        ]
        for number in range(n + furthest - 1)
    ]


def _toward(n: int, root: int) -> list[list[Step]]:
    """Every chunk c moves from position c toward the root, one position a round."""
    furthest = max(root, n - 1 - root)
    rounds: list[list[Step]] = [[] for _ in range(furthest)]
    for c in range(n):
        step = 1 if c < root else -1
        for number in range(abs(root - c)):
            at = c + step * number
            rounds[number].append(Step(at, at + step, c, StepKind.COPY))
    return rounds
