"""The sending end of a directed link: what is lost on it is sent again, and arrives once, in order.

A pure state machine, and so is the other end (link_receiver): packets and times go in, bytes to
hand over come out. Each virtual channel has `num_credits` places in the receiver's buffer; a packet
takes one when it is first sent, and gives it back when it has left that buffer.

Packets of a channel are numbered (`sequence`), and so are their transmissions (`serial`). What was
handed over arrives in order, so a receiver that has seen a serial will see none before it: a status
(what came in order, what came early, the last serial, the places free again) tells the sender
exactly what was lost. A sender that hears nothing for a while asks for a status with a probe, which
takes a serial too. So no outcome depends on how long a wait was, and the fate of each attempt is
asked for once, however the chips were scheduled.
"""

from .errors import LinkGaveUp, PacketError
from .fate import Fate, Fates, Link
from .link_status import NUM_CREDITS, PacketStatistics, Status, control, unpack_statuses
from .packet import Kind, Packet, crc32c, encode_packet

MAX_ATTEMPTS = 16  # then the link counts as down
PROBE_AFTER_S = 0.004  # of silence, doubled with each probe that nothing comes of
PROBE_AT_LEAST_EVERY_S = 0.25


class _Sent:
    """A packet on its way: its last transmission, and what the link did to it."""

    __slots__ = ("fate", "packet")

    def __init__(self, packet: Packet) -> None:
        self.packet = packet
        self.fate = Fate.DROPPED


class _Outbound:
    """The sender's side of one virtual channel."""

    __slots__ = ("next_sequence", "next_serial", "num_freed", "unacknowledged")

    def __init__(self) -> None:
        self.next_sequence = 0
        self.next_serial = 0
        self.num_freed = 0
        self.unacknowledged: dict[int, _Sent] = {}


class SenderEnd:
    """The sending end of a directed link in one run."""

    def __init__(
        self,
        link: Link,
        session: int,
        run_id: int,
        fates: Fates | None = None,
        num_credits: int = NUM_CREDITS,
    ) -> None:
        self.link = link
        self._session, self._run_id = session, run_id
        self._fates = fates
        self._num_credits = num_credits
        self._channels: dict[int, _Outbound] = {}
        self._silence_s = PROBE_AFTER_S
        self.probe_at_s: float | None = None  # when to call probe(); None: no need
        self.num_packets = self.num_bytes = self.num_retransmissions = 0
        self.num_dropped = self.num_corrupted = 0

    def can_send(self, channel: int) -> bool:
        """Is there a credit for a new packet on this virtual channel?"""
        out = self._channels.get(channel)
        return out is None or out.next_sequence - out.num_freed < self._num_credits

    def is_idle(self) -> bool:
        """Has everything that was sent arrived?"""
        return not any(out.unacknowledged for out in self._channels.values())

    def send(self, packet: Packet, now_s: float) -> bytes | None:
        """Take a credit and put a packet on the link; what to hand over, None if it was lost.

        The packet's attempt, sequence and serial are filled in here.
        """
        assert self.can_send(packet.channel), "a packet was sent without a credit"
        out = self._channels.setdefault(packet.channel, _Outbound())
        sent = _Sent(packet._replace(sequence=out.next_sequence, attempt=0))
        out.unacknowledged[out.next_sequence] = sent
        out.next_sequence += 1
        self.num_packets += 1
        if self.probe_at_s is None:
            self.probe_at_s = now_s + self._silence_s
        return self._transmit(out, sent)

    def take_status(self, packet: Packet, now_s: float) -> list[bytes]:
        """Learn what has come; the packets to hand over again.

        Raises:
            PacketError: the status speaks of packets that were never sent.
            LinkGaveUp: a packet was lost MAX_ATTEMPTS times.
        """
        again: list[bytes] = []
        for status in unpack_statuses(packet.payload):
            again += self._take_channel(status)
        self._silence_s = PROBE_AFTER_S
        self.probe_at_s = None if self.is_idle() else now_s + self._silence_s
        return again

    def probe(self, now_s: float) -> list[bytes]:
        """Ask for a status on each channel that misses an answer; each next silence is longer."""
        self._silence_s = min(2 * self._silence_s, PROBE_AT_LEAST_EVERY_S)
        self.probe_at_s = now_s + self._silence_s
        probes = []
        for channel, out in self._channels.items():
            if out.unacknowledged:
                probe = control(Kind.PROBE, self._session, self._run_id, self.link)
                probe = probe._replace(channel=channel, serial=out.next_serial)
                probes.append(encode_packet(probe))
                out.next_serial += 1
        return probes

    def statistics(self) -> PacketStatistics:
        """What was sent, in this run."""
        return PacketStatistics(
            num_packets=self.num_packets,
            num_bytes=self.num_bytes,
            num_retransmissions=self.num_retransmissions,
            num_dropped=self.num_dropped,
            num_corrupted=self.num_corrupted,
        )

    def _take_channel(self, status: Status) -> list[bytes]:
        out = self._channels.get(status.channel)
        if (
            out is None
            or status.expected > out.next_sequence
            or status.num_seen > out.next_serial
            or status.num_freed > status.expected
        ):
            raise PacketError(str(status), "one of packets that were sent")
        out.num_freed = max(out.num_freed, status.num_freed)
        for sequence in list(out.unacknowledged):
            if sequence < status.expected or sequence in status.early:
                del out.unacknowledged[sequence]
        lost = [s for s in out.unacknowledged.values() if s.packet.serial < status.num_seen]
        handed = [self._again(out, sent) for sent in lost]
        return [data for data in handed if data is not None]

    def _again(self, out: _Outbound, sent: _Sent) -> bytes | None:
        """Send a lost packet again. Only what the link itself lost is a new attempt."""
        packet = sent.packet
        if sent.fate is Fate.DELIVERED:
            return self._transmit(out, sent, is_known=True)
        if packet.attempt + 1 >= MAX_ATTEMPTS:
            what = f"packet {packet.piece} of message {packet.message} of chip {packet.src}"
            raise LinkGaveUp(self.link, 0, f"{what} after {MAX_ATTEMPTS} attempts")
        self.num_retransmissions += 1
        sent.packet = packet._replace(attempt=packet.attempt + 1)
        return self._transmit(out, sent)

    def _transmit(self, out: _Outbound, sent: _Sent, is_known: bool = False) -> bytes | None:
        packet = sent.packet = sent.packet._replace(serial=out.next_serial)
        out.next_serial += 1
        if not is_known:
            self.num_bytes += len(packet.payload)
            sent.fate = self._fate_of(packet)
        if sent.fate is Fate.DROPPED:
            self.num_dropped += 1
            return None
        data = encode_packet(packet)
        if sent.fate is Fate.CORRUPTED:
            self.num_corrupted += 1
            return _flipped(data, packet)
        return data

    def _fate_of(self, packet: Packet) -> Fate:
        if self._fates is None:
            return Fate.DELIVERED
        return self._fates.fate(self.link, packet.message, packet.piece, packet.attempt)


def _flipped(data: bytes, packet: Packet) -> bytes:
    """The bytes with one bit wrong; the packet's own numbers say which."""
    numbers = (*packet.link, packet.message, packet.piece, packet.attempt)
    place = crc32c(repr(numbers).encode()) % (8 * len(data))
    wrong = bytearray(data)
    wrong[place // 8] ^= 1 << place % 8
    return bytes(wrong)
