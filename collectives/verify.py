"""Proving a schedule right without running it.

    proof = verify(plan.schedule, box, plan.order)

proves that every position ends with every contribution exactly once, that no step reads what has
not arrived, and that the packets of all steps together can never wait for each other's buffers in
a circle, whatever the order in which they come.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..fabric.channels import Channel, channels, credit_cycle, describe_cycle
from ..fabric.routing import route
from ..fabric.topology import Box
from .errors import CreditCycle, ScheduleError
from .schedule import Schedule, Step

ChannelsOf = Callable[[Box, tuple[int, ...]], tuple[Channel, ...]]


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved of a schedule on the links of a box."""

    num_rounds: int
    num_steps: int
    most_hops: int
    num_channels: int  # virtual channels that its packets need


def verify(
    schedule: Schedule, box: Box, order: tuple[int, ...], channels_of: ChannelsOf = channels
) -> Proof:
    """Prove a schedule for the chips `order[position]` of a box.

    Args:
        channels_of: the rule that gives each link of a route its virtual channel.
    Raises:
        ScheduleError: it does not do what its operation promises; names round, step and positions.
        CreditCycle: its packets can lock up; names the links of the circle.
    """
    try:
        _ = schedule.contributions
    except ScheduleError as error:
        hint = _wrong_way(schedule)
        raise ScheduleError(f"{error}{hint}") from None
    pairs = {(step.src, step.dst) for steps in schedule.rounds for step in steps}
    routes = [route(box, order[src], order[dst]) for src, dst in sorted(pairs)]
    paths = [channels_of(box, path) for path in routes]
    cycle = credit_cycle(paths)
    if cycle is not None:
        raise CreditCycle(
            schedule.algorithm, schedule.operation.label, box.name, describe_cycle(cycle)
        )
    return Proof(
        num_rounds=len(schedule.rounds),
        num_steps=sum(map(len, schedule.rounds)),
        most_hops=max((len(path) - 1 for path in routes), default=0),
        num_channels=max((channel + 1 for path in paths for _, channel in path), default=0),
    )


def _wrong_way(schedule: Schedule) -> str:
    """A hint where steps go the wrong way round: all of them, or those unlike most."""
    n = schedule.num_ranks
    offsets = Counter((s.dst - s.src) % n for steps in schedule.rounds for s in steps)
    usual = offsets.most_common(1)[0][0] if offsets else 0
    for which, flip in (
        ("every step", lambda step: True),
        ("these steps", lambda step: (step.dst - step.src) % n != usual),
    ):
        turned = [
            (number, step)
            for number, steps in enumerate(schedule.rounds)
            for step in steps
            if flip(step)
        ]
        if turned and _is_right(_turned(schedule, flip)):
            number, step = turned[0]
            others = f" and {len(turned) - 1} more" if len(turned) > 1 else ""
            culprit = f"round {number}, position {step.src} to {step.dst}{others}"
            return f"; it would be right if {which} went the other way round ({culprit})"
    return ""


def _turned(schedule: Schedule, flip: Callable[[Step], bool]) -> Schedule:
    n = schedule.num_ranks
    rounds = tuple(
        tuple(
            replace(step, dst=(2 * step.src - step.dst) % n) if flip(step) else step
            for step in steps
        )
        for steps in schedule.rounds
    )
    return replace(schedule, rounds=rounds)


def _is_right(schedule: Schedule) -> bool:
    try:
        _ = schedule.contributions
    except ScheduleError:
        return False
    return True
