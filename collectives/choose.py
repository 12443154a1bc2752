"""Which algorithm a collective takes: the one that is quickest in simulated time."""

from dataclasses import dataclass, replace
from functools import lru_cache

from ..fabric.topology import Box
from .algorithm import Algorithm, algorithms, find
from .algorithms.direct import direct
from .call import Call
from .check import check_call
from .costs import CollectiveCosts
from .errors import AlgorithmError
from .plan import MOST_PLANS, Plan, make_plan

AUTO = "auto"


@dataclass(frozen=True)
class Candidate:
    """One algorithm for a call: its plan and simulated time, or why it cannot do it."""

    algorithm: Algorithm
    plan: Plan | None
    sim_ps: int | None
    why_not: str = ""


def plan_of(
    box: Box,
    rank: int,
    call: Call,
    algorithm: str | Algorithm = AUTO,
    costs: CollectiveCosts | None = None,
) -> Plan:
    """The plan of a call by a certain algorithm, or by the quickest one.

    Args:
        costs: other than those of the box.
    Raises:
        AlgorithmError: no such algorithm, or it cannot do this on these chips.
        ChunkError, CollectiveError: the call is wrong whatever the algorithm.
    """
    if isinstance(algorithm, str) and algorithm != AUTO:
        algorithm = find(algorithm, call.operation)
    if isinstance(algorithm, Algorithm):
        return make_plan(box, rank, replace(call, algorithm=algorithm.name), algorithm, costs)
    check_call(call, rank)
    return make_plan(box, rank, call, _quickest(box, rank, call, costs), costs)


def candidates(
    box: Box, rank: int, call: Call, costs: CollectiveCosts | None = None
) -> list[Candidate]:
    """Every registered algorithm of the operation, the quickest first; the unfit ones last.

    Times are those of all chips entering together, until the last one is done. Of equal ones the
    algorithm registered first comes first.
    """
    found = []
    for known in algorithms().values():
        if call.operation not in known.operations:
            continue
        try:
            plan = make_plan(box, rank, call, known, costs)
        except AlgorithmError as error:
            found.append(Candidate(known, None, None, error.reason))
        else:
            found.append(Candidate(known, plan, plan.sim_whole_ps))
    return sorted(found, key=lambda c: (c.sim_ps is None, c.sim_ps or 0))


@lru_cache(maxsize=MOST_PLANS)
def _quickest(box: Box, rank: int, call: Call, costs: CollectiveCosts | None) -> Algorithm:
    if len(call.ranks) == 1:
        return direct
    return candidates(box, rank, call, costs)[0].algorithm
