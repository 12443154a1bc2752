"""The simulated time of a schedule over the links of a box, with or without faults."""

from ..fabric.faults import FaultPlan
from ..fabric.topology import Box
from .costs import CollectiveCosts
from .faulty_flow import FaultyFlow
from .flow import Flow, SentMessage, Timing, Traffic
from .messages import messages_of
from .schedule import Schedule

__all__ = ["SentMessage", "Timing", "Traffic", "simulate"]


def simulate(
    schedule: Schedule,
    box: Box,
    order: tuple[int, ...],
    chunk_bytes: tuple[int, ...],
    sim_entry_ps: tuple[int, ...],
    costs: CollectiveCosts,
    faults: FaultPlan | None = None,
    first_message: tuple[int, ...] = (),
) -> Timing:
    """The time of `schedule` when position i (chip `order[i]`) enters at `sim_entry_ps[i]`.

    A step of an empty chunk is not sent and costs nothing. With `faults`, entry times count from
    the start of the run, as those of the plan do, and `first_message[i]` is the number of the first
    message that position i sends (default: 0 for all); its messages are numbered on from there.

    Returns: exit times by position, and every message in the order of the schedule.

    Raises:
        LinkDown: a message needs a link that is down, and the policy is strict, or there is no way
            round.
    """
    empty = () if all(chunk_bytes) else tuple(i for i, size in enumerate(chunk_bytes) if not size)
    messages = messages_of(schedule, box, order, empty)
    common = (schedule, box, messages, chunk_bytes, sim_entry_ps, costs)
    if faults is None or not faults.events:
        return Flow(*common).run()
    return FaultyFlow(faults, order, first_message or (0,) * len(order), *common).run()
