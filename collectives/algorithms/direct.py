"""Direct algorithms: every chunk goes straight to where it is wanted, over any number of hops.

One round (two for all_reduce), so the fewest start-ups; links are shared by the messages that
cross them. Reduction order: position p adds x[p+1], x[p+2], ... to its own, modulo n.
"""

from ..algorithm import Layout, Steps, Team, algorithm
from ..operation import Operation
from ..schedule import Step, StepKind


@algorithm("direct", Layout.RANK, *Operation)
def direct(operation: Operation, team: Team, root: int) -> Steps:
    """The rounds of a collective in which nobody passes on what was meant for another."""
    n = team.num_ranks
    others = [p for p in range(n) if p != root]
    copy, reduce = StepKind.COPY, StepKind.REDUCE
    if operation is Operation.BROADCAST:
        return [[Step(root, p, 0, copy) for p in others]]
    if operation is Operation.REDUCE:
        return [[Step((root + k) % n, root, 0, reduce) for k in range(1, n)]]
    if operation is Operation.SCATTER:
        return [[Step(root, p, p, copy) for p in others]]
    if operation is Operation.GATHER:
        return [[Step(p, root, p, copy) for p in others]]
    pairs = [(p, (p + k) % n) for k in range(1, n) for p in range(n)]
    if operation is Operation.ALL_TO_ALL:
        return [[Step(src, dst, src * n + dst, copy) for src, dst in pairs]]
    everywhere = [Step(src, dst, src, copy) for src, dst in pairs]
    home = [Step(src, dst, dst, reduce) for dst, src in pairs]
    if operation is Operation.REDUCE_SCATTER:
        return [home]
    return [home, everywhere] if operation is Operation.ALL_REDUCE else [everywhere]
