"""Messages flowing over links that are cut, slow, flaky or retraining, between chips that stall.

A message that finds a link down, on its way, raises LinkDown or takes the shortest way round, as
the policy of the plan says. A packet that is lost or corrupted holds up its link for the round trip
that finds this out, and goes again; a link that fails one packet MAX_ATTEMPTS times counts as down
from then on. A chip that is stalled for ever, or killed, has no time to simulate: the run finds
that out.
"""

from dataclasses import dataclass
from itertools import pairwise

from ..fabric.detour import route_around
from ..fabric.errors import LinkDown
from ..fabric.fate import Link
from ..fabric.faults import MAX_ATTEMPTS, FaultPlan
from ..fabric.topology import Box
from .costs import CollectiveCosts
from .flow import Flow, SentMessage
from .messages import Message, Messages
from .schedule import Schedule


@dataclass(frozen=True, slots=True)
class _Passage:
    """One way through: until when each link is occupied, and when the message starts and comes."""

    busy_until_ps: dict[Link, int]
    sim_start_ps: int
    sim_arrival_ps: int


@dataclass(frozen=True, slots=True)
class _Blocked:
    """The link that was found down, and when."""

    link: Link
    sim_ps: int


class FaultyFlow(Flow):
    """A flow under a plan of faults; position i is chip `order[i]`."""

    def __init__(
        self,
        faults: FaultPlan,
        order: tuple[int, ...],
        first_message: tuple[int, ...],
        schedule: Schedule,
        box: Box,
        messages: Messages,
        chunk_bytes: tuple[int, ...],
        sim_entry_ps: tuple[int, ...],
        costs: CollectiveCosts,
    ) -> None:
        self.faults, self.order, self.box = faults, order, box
        super().__init__(schedule, box, messages, chunk_bytes, sim_entry_ps, costs)
        self.what = f"{schedule.algorithm} {schedule.operation.value}"
        self.num_parallel = self.all_parallel = list(messages.num_parallel)
        self.rates = self.all_rates = list(messages.rates)
        self.number_of = {link: number for number, link in enumerate(messages.links)}
        self.next_message = list(first_message)
        self.worn_out: set[Link] = set()

    def _started(self, sim_entry_ps: tuple[int, ...]) -> list[int]:
        awake = tuple(self._awake_ps(i, ps) for i, ps in enumerate(sim_entry_ps))
        return super()._started(awake)

    def _awake_ps(self, position: int, ps: int) -> int:
        """When a chip that would do something at `ps` does it."""
        awake = self.faults.stall(self.order[position], ps)
        return ps if awake is None else awake

    def _send(self, message: Message, num_bytes: int) -> SentMessage:
        number = self.next_message[message.src]
        self.next_message[message.src] += 1
        start_ps = self._awake_ps(message.src, self._can_start_ps(message))
        path, dead = message.route, set(self.worn_out)
        while True:
            found = self._pass(path, start_ps, num_bytes, number)
            if isinstance(found, _Passage):
                break
            dead.add(found.link)
            way = route_around(self.box, path[0], path[-1], frozenset(dead))
            if self.faults.policy == "strict" or way is None:
                raise LinkDown(found.link, found.sim_ps, self._words(message))
            if found.link in self.worn_out:
                start_ps = max(start_ps, found.sim_ps)
            path = way
        self._occupy(found, num_bytes)
        sent_ps = found.busy_until_ps[path[0], path[1]]
        self.done[message.src] = max(self.done[message.src], sent_ps)
        return SentMessage(
            message.src, message.dst, message.chunks, path, found.sim_start_ps, found.sim_arrival_ps
        )

    def _pass(
        self, path: tuple[int, ...], start_ps: int, num_bytes: int, number: int
    ) -> _Passage | _Blocked:
        """Go along a path, occupying nothing yet."""
        enters, leaves, busy_until, started = start_ps, 0, {}, None
        for link in pairwise(path):
            enters = max(enters, self.link_free[self._number(link)])
            enters = self.faults.next_usable_ps(link, enters)
            if link in self.worn_out or self.faults.is_down(link, enters):
                return _Blocked(link, enters)
            work_ps, gets_across = self._work_ps(link, enters, num_bytes, number)
            free = self.faults.finish_ps(link, enters, work_ps)
            if not gets_across:
                self.worn_out.add(link)
                return _Blocked(link, free)
            busy_until[link] = free
            started = enters if started is None else started
            leaves = max(free, leaves) + self.link.hop_latency_ps
            enters += self.link.hop_latency_ps
        arrival = leaves - self.link.hop_latency_ps + self.link.first_hop_latency_ps
        return _Passage(busy_until, start_ps if started is None else started, arrival)

    def _work_ps(self, link: Link, at_ps: int, num_bytes: int, number: int) -> tuple[int, bool]:
        """How long a message keeps a link busy, and whether all of its packets get across."""
        packet = int(self.link.packet_payload.value)
        factor = self.faults.rate_factor(link, at_ps)
        links = self._number(link)
        transfer = round(self._transfer_ps(num_bytes, links) * factor)
        again = round(self._transfer_ps(min(packet, num_bytes), links) * factor)
        again += 2 * self.link.first_hop_latency_ps
        retries = self.faults.retries(link, number, -(-num_bytes // packet))
        if retries is None:
            return MAX_ATTEMPTS * again, False
        return transfer + retries * again, True

    def _occupy(self, passage: _Passage, num_bytes: int) -> None:
        for link, free in passage.busy_until_ps.items():
            self.link_free[self._number(link)] = free
            self.link_bytes[self._number(link)] += num_bytes

    def _number(self, link: Link) -> int:
        """The number of a link; one of a detour gets the next."""
        number = self.number_of.setdefault(link, len(self.number_of))
        if number == len(self.link_free):
            self.link_free.append(0)
            self.link_bytes.append(0)
            self.all_parallel.append(self.box.num_links(*link))
            self.all_rates.append(self.box.rate(*link))
        return number

    def _arrive(self, message: Message, num_bytes: int, arrival_ps: int) -> None:
        super()._arrive(message, num_bytes, self._awake_ps(message.dst, arrival_ps))

    def _words(self, message: Message) -> str:
        src, dst = self.order[message.src], self.order[message.dst]
        chunks = ", ".join(map(str, message.chunks))
        return f"chip {src} for chip {dst} ({self.what}, chunk {chunks})"
