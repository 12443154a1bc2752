"""The router of one chip: it cuts messages, forwards packets, and puts messages together again.

A pure state machine for one run. What happens goes in (`inject`, `take`, `tick`); what is to be
handed to neighbours is then in `outbox`, and what has arrived for this chip in `arrived`. A packet
in transit keeps its place in the buffer where it came in until it has a place at the next chip
(see channels); what ends here leaves the buffer at once.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from .channels import channels
from .errors import CrcError, LinkGaveUp, PacketError
from .fate import Fates, Link
from .link_receiver import ReceiverEnd
from .link_sender import SenderEnd
from .link_status import NUM_CREDITS, PacketStatistics, control
from .packet import Kind, Packet, decode_packet, encode_packet
from .reassembly import Frame, Reassembly
from .topology import Box

Place: TypeAlias = tuple[int, int]
"""A neighbour, and a virtual channel of the link from it or to it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A frame on its way out of this chip, as bytes to be cut."""

    message: int  # of this chip in this run
    order: int  # among those to the same chip
    route: tuple[int, ...]
    body: bytes


@dataclass(slots=True)
class _Waiting:
    """What waits for a credit of one virtual channel of one neighbour."""

    transit: deque[tuple[Packet, Place]] = field(default_factory=deque)
    own: deque[Iterator[Packet]] = field(default_factory=deque)
    is_own_turn: bool = False


class Router:
    """Forwards the packets of one chip in one run."""

    def __init__(
        self,
        box: Box,
        rank: int,
        session: int,
        run_id: int,
        fates: Fates | None = None,
        num_credits: int = NUM_CREDITS,
    ) -> None:
        self._box, self._rank = box, rank
        self._session, self._run_id = session, run_id
        self._payload_bytes = int(box.link.packet_payload.value)
        near = box.neighbours(rank)
        ends = (session, run_id)
        self._senders = {n: SenderEnd((rank, n), *ends, fates, num_credits) for n in near}
        self._receivers = {n: ReceiverEnd((n, rank), *ends, num_credits) for n in near}
        self._waiting: dict[int, dict[int, _Waiting]] = {n: {} for n in near}
        self._reassembly = Reassembly()
        self.outbox: list[tuple[int, bytes]] = []  # neighbour, what to hand to it
        self.arrived: list[tuple[int, Frame]] = []  # source, frame
        self.num_own_bytes_cut = 0  # of injected messages: what has left its queue
        self.num_refused = 0  # from chips that are no neighbours

    def inject(self, message: Message) -> None:
        """Send a message of this chip; its route starts here and has a link or more."""
        first = message.route[1]
        waiting = self._waiting[first].setdefault(0, _Waiting())
        waiting.own.append(self._cut(message))

    def take(self, neighbour: int, data: bytes, now_s: float) -> None:
        """Bytes came from a neighbour. What is no packet of this run is dropped and counted.

        Raises:
            LinkGaveUp: a link lost a packet too often: one of ours, or as another chip says.
        """
        receiver = self._receivers.get(neighbour)
        try:
            packet = self._checked(neighbour, data)
            if packet.kind is Kind.DOWN:
                raise _down_from(packet)
            if receiver is None:
                raise PacketError(f"a packet from chip {neighbour}", "one from a neighbour")
            if packet.kind is Kind.DATA:
                self._take_data(receiver, packet)
            elif packet.kind is Kind.PROBE:
                receiver.take_probe(packet)
            else:
                again = self._senders[neighbour].take_status(packet, now_s)
                self.outbox += ((neighbour, data) for data in again)
        except PacketError as error:
            if receiver is None:
                self.num_refused += 1
            elif isinstance(error, CrcError):
                receiver.num_crc_errors += 1
            else:
                receiver.num_refused += 1

    def tick(self, now_s: float) -> None:
        """Send what has credits, ask where silence has lasted too long, answer the neighbours."""
        for neighbour, sender in self._senders.items():
            self._pump(neighbour, sender, now_s)
            if sender.probe_at_s is not None and now_s >= sender.probe_at_s:
                self.outbox += ((neighbour, data) for data in sender.probe(now_s))
        for neighbour, receiver in self._receivers.items():
            if (status := receiver.status()) is not None:
                self.outbox.append((neighbour, status))

    def probe_at_s(self) -> float | None:
        """When tick() has something to do even if nothing comes."""
        times = (sender.probe_at_s for sender in self._senders.values())
        return min((time_s for time_s in times if time_s is not None), default=None)

    def is_idle(self) -> bool:
        """Has everything left that came in or was injected?"""
        queues = [w for channels in self._waiting.values() for w in channels.values()]
        return not any(queue.transit or queue.own for queue in queues) and all(
            sender.is_idle() for sender in self._senders.values()
        )

    def num_unfinished(self) -> int:
        """Messages that this chip has begun to send or to receive, and not ended."""
        queues = (w for channels in self._waiting.values() for w in channels.values())
        return self._reassembly.num_unfinished + sum(len(queue.own) for queue in queues)

    def statistics(self) -> Mapping[Link, PacketStatistics]:
        """Of each directed link from and to this chip, what this end of it counted."""
        outward = {sender.link: sender.statistics() for sender in self._senders.values()}
        inward = {end.link: end.statistics() for end in self._receivers.values()}
        return outward | inward

    def down_packet(self, dst: int, error: LinkGaveUp) -> bytes:
        """Tells another chip that a link gave up, and so this run."""
        packet = control(Kind.DOWN, self._session, self._run_id, (self._rank, dst))
        words = f"{error.link[0]} {error.link[1]} {error.what}"
        return encode_packet(packet._replace(payload=words.encode()))

    def _checked(self, neighbour: int, data: bytes) -> Packet:
        packet = decode_packet(data)
        if (packet.session, packet.run_id) != (self._session, self._run_id):
            raise PacketError(f"a packet of run {packet.run_id}", f"run {self._run_id}")
        if packet.link != (neighbour, self._rank):
            raise PacketError(f"link {packet.link}", f"({neighbour}, {self._rank})")
        return packet

    def _take_data(self, receiver: ReceiverEnd, packet: Packet) -> None:
        """Forward what is ready; each packet was checked when it came in."""
        self._check_route(packet)
        for ready in receiver.take(packet):
            if ready.position + 1 < len(ready.route):
                self._forward(ready)
                continue
            receiver.free(ready.channel)
            try:
                self.arrived += ((ready.src, frame) for frame in self._reassembly.take(ready))
            except PacketError:
                receiver.num_refused += 1

    def _check_route(self, packet: Packet) -> None:
        ends = packet.route[0], packet.route[-1]
        try:
            path = channels(self._box, packet.route)
        except ValueError as error:
            raise PacketError(f"route {packet.route}", f"links of {self._box.name}") from error
        if ends != (packet.src, packet.dst) or path[packet.position - 1][1] != packet.channel:
            raise PacketError(f"route {packet.route} on channel {packet.channel}", str(path))

    def _forward(self, packet: Packet) -> None:
        position = packet.position + 1
        _, channel = channels(self._box, packet.route)[position - 1]
        came_from = packet.route[position - 2], packet.channel
        waiting = self._waiting[packet.route[position]].setdefault(channel, _Waiting())
        onward = packet._replace(position=position, channel=channel)
        waiting.transit.append((onward, came_from))

    def _pump(self, neighbour: int, sender: SenderEnd, now_s: float) -> None:
        """Put on the link what waits for it, as far as credits go; own and transit take turns."""
        for channel, waiting in self._waiting[neighbour].items():
            while (waiting.transit or waiting.own) and sender.can_send(channel):
                waiting.is_own_turn = not waiting.is_own_turn
                if waiting.own and (waiting.is_own_turn or not waiting.transit):
                    packet = next(waiting.own[0])
                    self.num_own_bytes_cut += len(packet.payload)
                    if packet.piece + 1 == packet.num_pieces:
                        waiting.own.popleft()
                else:
                    packet, (origin, origin_channel) = waiting.transit.popleft()
                    self._receivers[origin].free(origin_channel)
                data = sender.send(packet, now_s)
                if data is not None:
                    self.outbox.append((neighbour, data))

    def _cut(self, message: Message) -> Iterator[Packet]:
        size = self._payload_bytes
        num_pieces = max(1, -(-len(message.body) // size))
        for piece in range(num_pieces):
            yield Packet(
                kind=Kind.DATA,
                session=self._session,
                run_id=self._run_id,
                src=self._rank,
                dst=message.route[-1],
                route=message.route,
                position=1,
                channel=0,
                message=message.message,
                order=message.order,
                piece=piece,
                num_pieces=num_pieces,
                attempt=0,
                sequence=0,
                serial=0,
                payload=message.body[piece * size : (piece + 1) * size],
            )


def _down_from(packet: Packet) -> LinkGaveUp | PacketError:
    try:
        src, dst, what = packet.payload.decode().split(" ", 2)
        return LinkGaveUp((int(src), int(dst)), 0, what)
    except ValueError as error:
        return PacketError(f"{packet.payload!r:.80} ({error})", "a link, and what it lost")
