"""A plan of faults: what goes wrong with links and chips, as a pure function of a seed.

Every chip asks the same plan the same questions and gets the same answers, before a byte moves. The
fate of a packet is a hash of the seed and of (link, message, packet, attempt), read as a number in
[0, 1): no state, no order of calls, no global random numbers.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from ..chip.errors import InvalidArgument
from .chance import MASK, key_of, uniform, uniforms
from .fate import UNNUMBERED, Fate, Link
from .fault_events import (
    ChipKill,
    ChipStall,
    Event,
    LinkCut,
    LinkEvent,
    LinkFlaky,
    LinkRetrain,
    LinkSlow,
    check_keys,
    parse_event,
)
from .topology import Box

Policy = Literal["strict", "reroute"]
MAX_ATTEMPTS = 16
"""Times that a packet is sent before its link counts as down."""


@dataclass(frozen=True)
class FaultPlan:
    """Events, the seed of the random ones, and what to do about links that are down.

    Policy "strict" raises LinkDown when a message needs such a link; "reroute" takes the shortest
    way round, and raises it when there is none.
    """

    events: tuple[Event, ...] = ()
    seed: int = 0
    policy: Policy = "strict"

    def __post_init__(self) -> None:
        object.__setattr__(self, "events", tuple(self.events))
        if self.policy not in get_args(Policy):
            raise InvalidArgument(
                f"policy (={self.policy!r}) must be one of {', '.join(get_args(Policy))}"
            )
        if not 0 <= self.seed <= MASK:
            raise InvalidArgument(f"seed (={self.seed}) must be in 0..2**64 - 1")

    @classmethod
    def parse(cls, mapping: Mapping[str, Any]) -> "FaultPlan":
        """A plan from plain values, as a TOML file has them.

        Example: {"seed": 7, "policy": "reroute", "events": [{"kind": "link_cut", "link": [0, 1],
        "at_us": 12.5}]}. A time ends in _ps (a whole number) or _us.

        Raises:
            InvalidArgument: an unknown key, kind or policy (the nearest is named), or a bad value.
        """
        check_keys(mapping, ("events", "seed", "policy"), "a fault plan")
        return cls(
            tuple(parse_event(entry) for entry in mapping.get("events", ())),
            mapping.get("seed", 0),
            mapping.get("policy", "strict"),
        )

    def check(self, box: Box) -> None:
        """See that the box has the links and chips of the events.

        Raises:
            InvalidArgument: it does not have one; the nearest that it has is named.
        """
        for event in self.events:
            if isinstance(event, ChipStall | ChipKill):
                if event.chip >= box.num_chips:
                    raise InvalidArgument(
                        f"{event}: {box.name} has no chip {event.chip}; "
                        f"the nearest is chip {box.num_chips - 1}"
                    )
            elif not box.num_links(*event.link):
                raise InvalidArgument(
                    f"{event}: {box.name} has no link {event.link}{_nearest_link(box, event.link)}"
                )

    def is_down(self, link: Link, at_ps: int) -> bool:
        """Has the link been cut by then?"""
        return any(
            isinstance(event, LinkCut) and event.at_ps <= at_ps for event in self._on_link(link)
        )

    def rate_factor(self, link: Link, at_ps: int) -> float:
        """How many times as long a transfer takes that starts then; slow events multiply."""
        factor = 1.0
        for event in self._on_link(link):
            if isinstance(event, LinkSlow) and event.from_ps <= at_ps:
                factor *= event.factor if event.to_ps is None or at_ps < event.to_ps else 1.0
        return factor

    def next_usable_ps(self, link: Link, at_ps: int) -> int:
        """The first time from `at_ps` on at which the link is not retraining."""
        for begin, end in self._retraining(link):
            if begin <= at_ps < end:
                return end
        return at_ps

    def finish_ps(self, link: Link, start_ps: int, work_ps: int) -> int:
        """When a transfer of `work_ps` is through that starts then and pauses for retraining."""
        finish = start_ps + work_ps
        for begin, end in self._retraining(link):
            if start_ps <= begin < finish:
                finish += end - begin
        return finish

    def stall(self, chip: int, at_ps: int) -> int | None:
        """When a chip that would do something at `at_ps` can do it; None when never."""
        stalls = [e for e in self.events if isinstance(e, ChipStall) and e.chip == chip]
        for begin, end in _merged([(e.at_ps, e.at_ps + e.for_ps) for e in stalls if e.for_ps]):
            if begin <= at_ps < end:
                at_ps = end
        return None if any(e.for_ps is None and e.at_ps <= at_ps for e in stalls) else at_ps

    def kills(self, chip: int) -> int | None:
        """When the chip is gone, or None."""
        times = [e.at_ps for e in self.events if isinstance(e, ChipKill) and e.chip == chip]
        return min(times, default=None)

    def fate(self, link: Link, message: int, packet: int, attempt: int) -> Fate:
        """What happens when `packet` of `message` crosses `link` for the `attempt`-th time (0..).

        A message is numbered by its sender, from zero in each run.
        """
        drop, corrupt = self._flakiness(link)
        if not drop + corrupt or message >= UNNUMBERED:
            return Fate.DELIVERED
        chance = uniform(self._key(link, message), packet, attempt)
        if chance < drop:
            return Fate.DROPPED
        return Fate.CORRUPTED if chance < drop + corrupt else Fate.DELIVERED

    def retries(self, link: Link, message: int, num_packets: int) -> int | None:
        """How often packets 0..num_packets-1 of a message are sent again over a link.

        None when one of them does not get across in MAX_ATTEMPTS.
        """
        fails = sum(self._flakiness(link))
        if not fails:
            return 0
        key, packets, total = self._key(link, message), np.arange(num_packets), 0
        for attempt in range(MAX_ATTEMPTS):
            packets = packets[uniforms(key, packets, attempt) < fails]
            if not packets.size:
                return total
            total += packets.size
        return None

    @cached_property
    def _by_link(self) -> dict[Link, tuple[LinkEvent, ...]]:
        found: dict[Link, tuple[LinkEvent, ...]] = {}
        for event in self.events:
            if not isinstance(event, ChipStall | ChipKill):
                for link in (event.link, event.link[::-1]):
                    found[link] = (*found.get(link, ()), event)
        return found

    def _on_link(self, link: Link) -> tuple[LinkEvent, ...]:
        return self._by_link.get(link, ())

    def _retraining(self, link: Link) -> list[tuple[int, int]]:
        return _merged(
            (event.at_ps, event.at_ps + event.for_ps)
            for event in self._on_link(link)
            if isinstance(event, LinkRetrain)
        )

    def _flakiness(self, link: Link) -> tuple[float, float]:
        """Probabilities (drop, corrupt); of several events a packet must survive each in turn."""
        drop = corrupt = 0.0
        for event in self._on_link(link):
            if isinstance(event, LinkFlaky):
                survives = 1 - drop - corrupt
                drop, corrupt = drop + survives * event.drop, corrupt + survives * event.corrupt
        return drop, corrupt

    def _key(self, link: Link, message: int) -> int:
        return key_of(self.seed, *link, message)


def _merged(windows: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Windows of time, joined where they touch, in order."""
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(windows):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((begin, end))
    return merged


def _nearest_link(box: Box, link: Link) -> str:
    if not box.edges:
        return ", nor any other"
    a, b = sorted(link)
    nearest = min(box.edges, key=lambda edge: (abs(edge.a - a) + abs(edge.b - b), edge))
    return f"; the nearest is ({nearest.a}, {nearest.b})"
