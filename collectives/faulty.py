"""Collectives under a plan of faults: which way round they go, how long it takes, and who gives up.

All chips of a call know everybody's entry time before a byte moves, and the plan is a pure
function, so each works out the same algorithm, routes, retransmissions and times, or the same
LinkDown.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from ..fabric.errors import LinkDown
from ..fabric.fate import Link
from ..fabric.faults import FaultPlan
from ..fabric.topology import Box
from .algorithm import Algorithm
from .choose import AUTO, plan_of
from .errors import AlgorithmError
from .plan import MOST_PLANS, Plan
from .simulate import Timing, simulate


@dataclass(frozen=True, slots=True)
class Passage:
    """How a message goes: the chips on its route, and its number among those of its sender."""

    route: tuple[int, ...]
    message: int


class Faulty:
    """One chip's view of a plan of faults.

    Args:
        stall: called when the plan stalls this chip for ever; does not return.
        die: called when the plan kills this chip; does not return.
    """

    def __init__(
        self,
        box: Box,
        rank: int,
        faults: FaultPlan,
        stall: Callable[[], None],
        die: Callable[[], None],
    ) -> None:
        self.box, self.rank, self.faults = box, rank, faults
        self._stall, self._die = stall, die
        self.num_sent = 0  # messages of this chip in this run

    def begin_run(self) -> None:
        """Number messages from zero again."""
        self.num_sent = 0

    def enter(self, sim_now_ps: int) -> int:
        """When this chip enters a call that it would enter now; it may never, or be no more."""
        killed_ps = self.faults.kills(self.rank)
        if killed_ps is not None and killed_ps <= sim_now_ps:
            self._die()
        awake_ps = self.faults.stall(self.rank, sim_now_ps)
        if awake_ps is None:
            self._stall()
            raise AssertionError("a chip that is stalled for ever does not come back")
        return awake_ps

    def plan(self, plan: Plan, algorithm: str | Algorithm, sim_entry_ps: int) -> Plan:
        """The plan that is carried out instead, when all have entered at `sim_entry_ps`.

        With the policy "reroute", what is down by then is left out of the box, so that the
        algorithm is chosen, and the chips are lined up, for the links that are left. An algorithm
        that they do not allow, such as a ring without one of its links, gives way to the quickest
        that they do.

        Raises:
            LinkDown: the links that are left do not join all chips.
        """
        if self.faults.policy == "strict":
            return plan
        down = tuple(
            link
            for edge in self.box.edges
            for link in ((edge.a, edge.b),)
            if self.faults.is_down(link, sim_entry_ps)
        )
        if not down:
            return plan
        degraded = without_links(self.box, down)
        call = replace(plan.call, algorithm=AUTO)
        try:
            try:
                return plan_of(degraded, self.rank, call, algorithm, plan.costs)
            except AlgorithmError:  # a ring that is none any more
                return plan_of(degraded, self.rank, call, costs=plan.costs)
        except ValueError as error:
            raise LinkDown(down[0], sim_entry_ps, f"{plan.call.text} ({error})") from error

    def timing(
        self, plan: Plan, sim_entry_ps: tuple[int, ...], num_sent: tuple[int, ...]
    ) -> Timing:
        """When all are done, and how each message goes; by position.

        Args:
            num_sent: the messages that the chip at each position has sent in this run.
        Raises:
            LinkDown: a link is needed that is down, and the policy is strict or no way is left.
        """
        return _timing(plan, self.faults, sim_entry_ps, num_sent)

    def passages(self, plan: Plan, timing: Timing) -> list[Passage]:
        """How the messages of this chip go, in the order in which it sends them; counts them."""
        own = [message for message in timing.messages if message.src == plan.position]
        found = [Passage(m.route, self.num_sent + number) for number, m in enumerate(own)]
        self.num_sent += len(own)
        return found


@lru_cache(maxsize=256)
def without_links(box: Box, links: tuple[Link, ...]) -> Box:
    """The box without some links, both directions of each."""
    gone = {tuple(sorted(link)) for link in links}
    edges = tuple(edge for edge in box.edges if (edge.a, edge.b) not in gone)
    return replace(box, name=f"{box.name} without {sorted(gone)}", edges=edges)


@lru_cache(maxsize=MOST_PLANS)
def _timing(
    plan: Plan, faults: FaultPlan, sim_entry_ps: tuple[int, ...], num_sent: tuple[int, ...]
) -> Timing:
    return simulate(
        plan.schedule, plan.box, plan.order, plan.chunk_bytes, sim_entry_ps,
        plan.costs, faults, num_sent,
    )  # fmt: skip
