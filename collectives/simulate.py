"""The simulated time of a schedule over the links of a box.

A step starts when its sender has held the chunk for the step overhead and the links of the route
are free; it takes the latency of each hop and the transfer at the rate of the slowest link; an
addition follows on arrival. The overhead is a delay, not work: while it passes, the sender's other
chunks may be on their links, as in a pipeline. Links are full duplex: each direction is occupied
by one message at a time, so steps that share a link wait for one another in the order of the
schedule. All in integer picoseconds, so two runs give the same times on any machine.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from ..fabric.routing import route
from ..fabric.topology import Box
from .costs import CollectiveCosts
from .schedule import Schedule, Step, StepKind

Link: TypeAlias = tuple[int, int]
"""One direction between two neighbouring chips, (src, dst)."""
Traffic: TypeAlias = dict[Link, tuple[int, int]]
"""Bytes and messages over each link of the routes that one position sends on."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When each position is done (simulated ps), and the traffic that each position causes."""

    sim_exit_ps: tuple[int, ...]
    traffic: tuple[Traffic, ...]


def simulate(
    schedule: Schedule,
    box: Box,
    order: tuple[int, ...],
    chunk_bytes: tuple[int, ...],
    sim_entry_ps: tuple[int, ...],
    costs: CollectiveCosts,
) -> Timing:
    """The time of `schedule` when position i (chip `order[i]`) enters at `sim_entry_ps[i]`.

    A step of an empty chunk is not sent and costs nothing.

    Returns: exit times by position, and the bytes and messages that each position sends over each
        directed link of its routes.
    """
    return _Simulation(schedule, box, order, chunk_bytes, sim_entry_ps, costs).run()


class _Simulation:
    """The state of one simulation: when each chunk is ready, each chip and each link free."""

    def __init__(
        self,
        schedule: Schedule,
        box: Box,
        order: tuple[int, ...],
        chunk_bytes: tuple[int, ...],
        sim_entry_ps: tuple[int, ...],
        costs: CollectiveCosts,
    ) -> None:
        self.schedule, self.box, self.order = schedule, box, order
        self.chunk_bytes, self.costs = chunk_bytes, costs
        started = [entry + costs.startup_ps for entry in sim_entry_ps]
        self.ready = [dict.fromkeys(range(schedule.num_chunks), ps) for ps in started]
        self.done = started
        self.link_free: dict[Link, int] = {}
        self.traffic: tuple[Traffic, ...] = tuple({} for _ in order)

    def run(self) -> Timing:
        for steps in self.schedule.rounds:
            sent = [(step, self._send(step)) for step in steps if self.chunk_bytes[step.chunk]]
            for step, arrival_ps in sent:
                self._arrive(step, arrival_ps)
        return Timing(tuple(self.done), self.traffic)

    def _send(self, step: Step) -> int:
        """Occupy the links of the route; the time at which the last byte arrives."""
        path = route(self.box, self.order[step.src], self.order[step.dst])
        links = list(pairwise(path))
        num_bytes = self.chunk_bytes[step.chunk]
        start = self.ready[step.src][step.chunk] + self.costs.step_overhead_ps
        start = max(start, *(self.link_free.get(link, 0) for link in links))
        slowest = 0
        for link in links:
            transfer = self.box.link.transfer_ps(num_bytes, self.box.num_links(*link))
            self.link_free[link] = start + transfer
            slowest = max(slowest, transfer)
            sent_bytes, messages = self.traffic[step.src].get(link, (0, 0))
            self.traffic[step.src][link] = (sent_bytes + num_bytes, messages + 1)
        self.done[step.src] = max(self.done[step.src], start + slowest)
        return start + slowest + self.box.link.latency_ps(len(links))

    def _arrive(self, step: Step, arrival_ps: int) -> None:
        ready = self.ready[step.dst]
        if step.kind is StepKind.REDUCE:
            arrival_ps = max(arrival_ps, ready[step.chunk])
            arrival_ps += self.costs.reduce_ps(self.chunk_bytes[step.chunk])
        ready[step.chunk] = arrival_ps
        self.done[step.dst] = max(self.done[step.dst], arrival_ps)
