"""The receiving end of a directed link: each packet goes on once, and in order. See link_sender."""

from collections.abc import Sequence

from .fate import Link
from .link_status import NUM_CREDITS, PacketStatistics, Status, control, pack_statuses
from .packet import Kind, Packet, encode_packet


class _Inbound:
    """The receiver's side of one virtual channel."""

    __slots__ = ("early", "expected", "num_freed", "num_seen")

    def __init__(self) -> None:
        self.expected = 0  # the next sequence number
        self.num_seen = 0  # transmissions: one more than the last serial
        self.num_freed = 0
        self.early: dict[int, Packet] = {}


class ReceiverEnd:
    """The receiving end of a directed link in one run."""

    def __init__(
        self, link: Link, session: int, run_id: int, num_credits: int = NUM_CREDITS
    ) -> None:
        self.link = link
        self._session, self._run_id = session, run_id
        self._num_credits = num_credits
        self._channels: dict[int, _Inbound] = {}
        self._news: set[int] = set()  # channels that the sender should hear of
        self.num_crc_errors = self.num_duplicates = self.num_refused = 0

    def take(self, packet: Packet) -> Sequence[Packet]:
        """A packet has come; those that can now go on, in order. Duplicates are dropped."""
        channel = self._channels.setdefault(packet.channel, _Inbound())
        sequence = packet.sequence
        if sequence >= channel.num_freed + self._num_credits:
            self.num_refused += 1
            return ()
        self._see(channel, packet)
        if sequence < channel.expected or sequence in channel.early:
            self.num_duplicates += 1
            return ()
        if sequence > channel.expected:
            channel.early[sequence] = packet
            return ()
        ready = [packet]
        channel.expected += 1
        while channel.early and (after := channel.early.pop(channel.expected, None)) is not None:
            ready.append(after)
            channel.expected += 1
        return ready

    def take_probe(self, packet: Packet) -> None:
        """The sender asks for a status."""
        self._see(self._channels.setdefault(packet.channel, _Inbound()), packet)

    def free(self, channel: int) -> None:
        """A packet of this virtual channel has left the buffer: its place can be used again."""
        inbound = self._channels[channel]
        inbound.num_freed += 1
        assert inbound.num_freed <= inbound.expected, "a place was freed twice"
        self._news.add(channel)

    def status(self) -> bytes | None:
        """What the sender should hear, as a packet to hand over; None when it knows all."""
        if not self._news:
            return None
        news = [(number, self._channels[number]) for number in sorted(self._news)]
        self._news.clear()
        states = [Status(n, c.expected, c.num_seen, c.num_freed, tuple(c.early)) for n, c in news]
        back = (self.link[1], self.link[0])
        answer = control(Kind.STATUS, self._session, self._run_id, back)
        return encode_packet(answer._replace(payload=pack_statuses(states)))

    def statistics(self) -> PacketStatistics:
        """What came and went no further, in this run."""
        return PacketStatistics(
            num_crc_errors=self.num_crc_errors,
            num_duplicates=self.num_duplicates,
            num_refused=self.num_refused,
        )

    def _see(self, channel: _Inbound, packet: Packet) -> None:
        channel.num_seen = max(channel.num_seen, packet.serial + 1)
        self._news.add(packet.channel)
