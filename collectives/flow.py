"""Messages flowing over the links of a box: when each starts, arrives, and lets its chips go on.

Theory of operation. A collective begins when every chip knows that all are there: the last one has
entered and started up, and the news has crossed the group (a barrier has no such beginning: it is
one). Then messages flow. A message starts when its sender has held its chunks for the step
overhead; it enters each link of its route when its first byte has come there and the link is free
of the messages before it in the order of the schedule. It occupies a link for bytes / rate, flows
on while it comes in, and its last byte comes one latency after it left. A chip passes a chunk on,
or adds it, when it has all of it. The overhead is a delay, not work: while it passes, other
messages may be on the links. Links are full duplex. All in integer picoseconds, so two runs give
the same times on any machine.

all_reduce, made of a reduce_scatter and an all_gather, starts up again between them. An all_gather
also copies the chip's own chunk into the result, by the worker that is first done with sending;
with much to send, several workers share a link, and the copy is hidden.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, TypeAlias

from ..fabric.fate import Link
from ..fabric.topology import Box
from .costs import CollectiveCosts
from .messages import Message, Messages
from .operation import Operation
from .schedule import Schedule

Traffic: TypeAlias = dict[Link, tuple[int, int]]
"""Bytes and messages over each link of the routes that one position sends on."""
COPIES_ITS_OWN = (Operation.ALL_GATHER, Operation.ALL_REDUCE)


class SentMessage(NamedTuple):
    """One message as it went: positions, chunks, the chips on its route, and simulated times."""

    src: int
    dst: int
    chunks: tuple[int, ...]
    route: tuple[int, ...]
    sim_start_ps: int
    sim_arrival_ps: int


@dataclass(frozen=True)
class Timing:
    """When each position is done (simulated ps), and each message with its times and size."""

    sim_exit_ps: tuple[int, ...]
    messages: tuple[SentMessage, ...]
    message_bytes: tuple[int, ...]

    @cached_property
    def traffic(self) -> tuple[Traffic, ...]:
        """By position: bytes and messages that it sends over each directed link of its routes."""
        traffic: tuple[Traffic, ...] = tuple({} for _ in self.sim_exit_ps)
        for message, num_bytes in zip(self.messages, self.message_bytes, strict=True):
            sent = traffic[message.src]
            for link in zip(message.route, message.route[1:], strict=False):
                before, count = sent.get(link, (0, 0))
                sent[link] = (before + num_bytes, count + 1)
        return traffic


class Flow:
    """The state of one simulation: when each chunk is ready, each chip done, each link free."""

    def __init__(
        self,
        schedule: Schedule,
        box: Box,
        messages: Messages,
        chunk_bytes: tuple[int, ...],
        sim_entry_ps: tuple[int, ...],
        costs: CollectiveCosts,
    ) -> None:
        self.operation, self.messages, self.chunk_bytes = schedule.operation, messages, chunk_bytes
        self.link, self.costs = box.link, costs
        self.num_parallel: Sequence[int] = messages.num_parallel
        self.rates: Sequence[float] = messages.rates
        self.agreement_ps = box.link.latency_ps(messages.span)
        self.done = self._started(sim_entry_ps)
        self.ready = [ps for ps in self.done for _ in range(schedule.num_chunks)]
        self.link_free = [min(self.done)] * len(messages.links)
        self.link_bytes = [0] * len(messages.links)
        self.transfers: dict[tuple[int, int, float], int] = {}

    def run(self) -> Timing:
        """Send round after round: all steps of a round read what was there before it."""
        sent: list[SentMessage] = []
        sizes: list[int] = []
        chunk_bytes, sends, arrives = self.chunk_bytes, self._send, self._arrive
        for messages in self.messages.rounds:
            first = len(sent)
            for message in messages:
                chunks = message.chunks
                if len(chunks) == 1:
                    num_bytes = chunk_bytes[chunks[0]]
                else:
                    num_bytes = sum([chunk_bytes[chunk] for chunk in chunks])
                sizes.append(num_bytes)
                sent.append(sends(message, num_bytes))
            for number, message in enumerate(messages, first):
                arrives(message, sizes[number], sent[number].sim_arrival_ps)
        self._copy_own()
        return Timing(tuple(self.done), tuple(sent), tuple(sizes))

    def _started(self, sim_entry_ps: tuple[int, ...]) -> list[int]:
        """When each position begins: together, but for a barrier, whose steps are the agreement."""
        if self.operation is Operation.BARRIER:
            return [entry + self.costs.startup_ps for entry in sim_entry_ps]
        begin = max(sim_entry_ps) + self.costs.startup_ps + self.agreement_ps
        return [begin] * len(sim_entry_ps)

    def _send(self, message: Message, num_bytes: int) -> SentMessage:
        """Occupy the links of the route, each from when the first byte has come to it."""
        links = message.links
        first = max(self._can_start_ps(message), self.link_free[links[0]])
        enters, leaves = first, 0
        for link in links:
            enters = max(enters, self.link_free[link])
            free = enters + self._transfer_ps(num_bytes, link)
            self.link_free[link] = free
            self.link_bytes[link] += num_bytes
            leaves = max(free, leaves)
            enters += self.link.hop_latency_ps
            leaves += self.link.hop_latency_ps
        arrival = leaves - self.link.hop_latency_ps + self.link.first_hop_latency_ps
        sent_ps = self.link_free[links[0]]
        if sent_ps > self.done[message.src]:
            self.done[message.src] = sent_ps
        return SentMessage(message.src, message.dst, message.chunks, message.route, first, arrival)

    def _can_start_ps(self, message: Message) -> int:
        """When the sender has held all chunks of the message for the overhead of a step."""
        reads, ready = message.reads, self.ready
        held = ready[reads[0]] if len(reads) == 1 else max([ready[chunk] for chunk in reads])
        if message.turns:
            held += self.costs.startup_ps + self.agreement_ps
        return held + self.costs.step_overhead_ps

    def _transfer_ps(self, num_bytes: int, link: int) -> int:
        num_parallel, rate = self.num_parallel[link], self.rates[link]
        key = (num_bytes, num_parallel, rate)
        transfer = self.transfers.get(key)
        if transfer is None:
            transfer = self.link.transfer_ps(num_bytes, num_parallel)
            transfer = self.transfers[key] = transfer if rate == 1 else round(transfer / rate)
        return transfer

    def _arrive(self, message: Message, num_bytes: int, arrival_ps: int) -> None:
        """Take the chunks in, or add them to those that are here once both are."""
        ready = self.ready
        if message.reduces:
            for chunk in message.writes:
                if ready[chunk] > arrival_ps:
                    arrival_ps = ready[chunk]
            num_parallel = self.num_parallel[message.links[-1]]
            arrival_ps += self.costs.reduce_ps(num_bytes, num_parallel, message.forwards)
        for chunk in message.writes:
            ready[chunk] = arrival_ps
        if arrival_ps > self.done[message.dst]:
            self.done[message.dst] = arrival_ps

    def _copy_own(self) -> None:
        """Copy what each chip began with, or summed up, into its result."""
        if self.operation not in COPIES_ITS_OWN:
            return
        parallel, costs = self.num_parallel, self.costs
        if any(
            costs.hides_copy(num_bytes // num_links)
            for num_bytes, num_links in zip(self.link_bytes, parallel, strict=True)
        ):
            return
        for position, chunks in enumerate(self.messages.originals):
            links = self.messages.originals_links[position]
            if chunks and links:
                link = min(links, key=self.link_free.__getitem__)
                size = sum([self.chunk_bytes[chunk] for chunk in chunks])
                copied = self.link_free[link] + costs.copy_ps(size, parallel[link])
                self.done[position] = max(self.done[position], copied)
