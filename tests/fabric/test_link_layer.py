"""A link: whatever is lost, corrupted or repeated on it, packets arrive once and in order."""

import random
from collections import Counter, deque
from dataclasses import dataclass, field, fields

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import CrcError, LinkDown, LinkGaveUp, PacketError
from meshtwin.fabric.fate import Fate, Link
from meshtwin.fabric.link_receiver import ReceiverEnd
from meshtwin.fabric.link_sender import (
    MAX_ATTEMPTS,
    PROBE_AFTER_S,
    PROBE_AT_LEAST_EVERY_S,
    SenderEnd,
)
from meshtwin.fabric.link_status import PacketStatistics, Status, pack_statuses, unpack_statuses
from meshtwin.fabric.packet import Kind, Packet, decode_packet

LINK = (2, 5)


def packet(number: int, channel: int = 0) -> Packet:
    payload = f"{channel}/{number}".encode()
    return Packet(
        Kind.DATA, 1, 1, 2, 9, (2, 5, 9), 1, channel, number, 0, channel, 9, 0, 0, 0, payload
    )


@dataclass
class LossyFates:
    """Drops and corrupts by a hash of the packet's numbers, and notes who asked."""

    seed: int
    loss: float = 0.4
    asked: Counter[tuple[Link, int, int, int]] = field(default_factory=Counter)

    def fate(self, link: Link, message: int, packet: int, attempt: int) -> Fate:
        self.asked[link, message, packet, attempt] += 1
        return self.decide(message, packet, attempt)

    def decide(self, message: int, packet: int, attempt: int) -> Fate:
        dice = random.Random(hash((self.seed, message, packet, attempt)))
        if attempt >= MAX_ATTEMPTS - 1 or dice.random() > self.loss:
            return Fate.DELIVERED
        return dice.choice((Fate.DROPPED, Fate.CORRUPTED))

    def attempts(self, message: int, packet: int) -> int:
        """How often a packet has to be sent until it arrives."""
        attempt = 0
        while self.decide(message, packet, attempt) is not Fate.DELIVERED:
            attempt += 1
        return attempt + 1


class Wire:
    """A link with both its ends, and what is under way; every step is a choice of the test."""

    def __init__(self, fates: LossyFates | None, num_packets: int, num_channels: int) -> None:
        self.sender = SenderEnd(LINK, 1, 1, fates, num_credits=4)
        self.receiver = ReceiverEnd(LINK, 1, 1, num_credits=4)
        self.waiting = {
            c: deque(packet(n, c) for n in range(num_packets)) for c in range(num_channels)
        }
        self.there: deque[bytes] = deque()
        self.back: deque[bytes] = deque()
        self.buffered: Counter[int] = Counter()
        self.arrived: list[Packet] = []
        self.now_s = 0.0
        self.history: list[bytes] = []

    def step(self, dice: random.Random) -> None:
        moves = [self.send, self.hand_over, self.answer, self.free, self.pass_time, self.replay]
        dice.choice(moves)(dice)

    def send(self, dice: random.Random) -> None:
        channel = dice.choice(list(self.waiting))
        if self.waiting[channel] and self.sender.can_send(channel):
            data = self.sender.send(self.waiting[channel].popleft(), self.now_s)
            self.put([data] if data is not None else [])

    def put(self, handed: list[bytes]) -> None:
        self.there += handed
        self.history += handed

    def hand_over(self, dice: random.Random) -> None:
        if self.there:
            self.receive(self.there.popleft())

    def receive(self, data: bytes) -> None:
        try:
            came = decode_packet(data)
        except CrcError:
            self.receiver.num_crc_errors += 1
            return
        if came.kind is Kind.PROBE:
            self.receiver.take_probe(came)
            return
        for ready in self.receiver.take(came):
            self.arrived.append(ready)
            self.buffered[ready.channel] += 1
            assert self.buffered[ready.channel] <= 4

    def answer(self, dice: random.Random) -> None:
        if (status := self.receiver.status()) is not None:
            self.back.append(status)
        elif self.back:
            self.put(self.sender.take_status(decode_packet(self.back.popleft()), self.now_s))

    def free(self, dice: random.Random) -> None:
        channel = dice.choice(list(self.waiting))
        if self.buffered[channel]:
            self.buffered[channel] -= 1
            self.receiver.free(channel)

    def pass_time(self, dice: random.Random) -> None:
        self.now_s += dice.choice((0.0001, PROBE_AFTER_S, 0.1))
        if self.sender.probe_at_s is not None and self.now_s >= self.sender.probe_at_s:
            self.put(self.sender.probe(self.now_s))

    def replay(self, dice: random.Random) -> None:
        if self.history and dice.random() < 0.2:
            self.receive(dice.choice(self.history))

    def is_done(self, total: int) -> bool:
        return len(self.arrived) == total and self.sender.is_idle()


@given(st.integers(0, 2**32), st.integers(1, 12), st.integers(1, 3))
def test_packets_arrive_once_and_in_order_whatever_happens(
    seed: int, num_packets: int, num_channels: int
) -> None:
    fates = LossyFates(seed)
    wire, dice = Wire(fates, num_packets, num_channels), random.Random(seed)
    total = num_packets * num_channels
    for _ in range(200_000):
        wire.step(dice)
        if wire.is_done(total):
            break
    for channel in range(num_channels):
        payloads = [p.payload for p in wire.arrived if p.channel == channel]
        assert payloads == [packet(n, channel).payload for n in range(num_packets)]
    # The fates were asked for exactly the attempts that were needed, each once.
    assert set(fates.asked.values()) == {1}
    needed = [fates.attempts(n, c) for n in range(num_packets) for c in range(num_channels)]
    assert len(fates.asked) == sum(needed)
    assert wire.sender.num_retransmissions == sum(needed) - total
    assert wire.sender.num_packets == total


def straight(num_packets: int, fates: LossyFates | None = None) -> tuple[Wire, random.Random]:
    return Wire(fates, num_packets, 1), random.Random(0)


def test_nothing_goes_without_a_credit_and_places_come_back() -> None:
    wire, dice = straight(6)
    for _ in range(6):
        wire.send(dice)
    assert len(wire.there) == 4 and not wire.sender.can_send(0) and wire.sender.can_send(1)
    for _ in range(4):
        wire.hand_over(dice)
    wire.answer(dice)
    wire.answer(dice)
    assert wire.sender.is_idle() and not wire.sender.can_send(0)  # arrived, and not yet gone on
    wire.free(dice)
    wire.answer(dice)
    wire.answer(dice)
    assert wire.sender.can_send(0)


def test_a_gap_is_seen_at_the_next_packet_and_only_the_lost_one_is_sent_again() -> None:
    wire, dice = straight(3)
    for _ in range(3):
        wire.send(dice)
    lost = decode_packet(wire.there.popleft())
    wire.hand_over(dice)
    wire.hand_over(dice)
    assert wire.arrived == []
    wire.answer(dice)
    wire.answer(dice)
    (again,) = map(decode_packet, wire.there)
    assert (again.sequence, again.attempt) == (
        lost.sequence,
        0,
    )  # the link did not lose it: no new attempt
    wire.hand_over(dice)
    assert [p.message for p in wire.arrived] == [0, 1, 2]


def test_silence_is_answered_by_ever_rarer_probes() -> None:
    wire, dice = straight(1)
    wire.send(dice)
    silences = []
    for _ in range(12):
        at_s = wire.sender.probe_at_s
        assert at_s is not None
        silences.append(at_s - wire.now_s)
        wire.now_s = at_s
        wire.put(wire.sender.probe(at_s))
    assert silences[0] == PROBE_AFTER_S and silences == sorted(silences)
    assert silences[-1] == pytest.approx(PROBE_AT_LEAST_EVERY_S)
    for _ in range(13):
        wire.hand_over(dice)
    wire.answer(dice)
    wire.answer(dice)
    assert wire.sender.probe_at_s is None and wire.sender.num_retransmissions == 0


class AlwaysCorrupted:
    """A broken cable."""

    def fate(self, link: Link, message: int, packet: int, attempt: int) -> Fate:
        return Fate.CORRUPTED


def test_a_link_that_never_delivers_gives_up() -> None:
    wire, dice = Wire(None, 1, 1), random.Random(0)
    wire.sender = SenderEnd(LINK, 1, 1, AlwaysCorrupted())
    wire.send(dice)
    with pytest.raises(LinkGaveUp, match="2 to chip 5 gave up on packet 0 of message 0") as caught:
        for _ in range(10 * MAX_ATTEMPTS):
            while wire.there:
                wire.hand_over(dice)
            wire.answer(dice)
            wire.now_s += 1
            if not wire.back:
                wire.put(wire.sender.probe(wire.now_s))
    assert isinstance(caught.value, LinkDown) and caught.value.link == LINK
    assert wire.sender.num_corrupted == wire.receiver.num_crc_errors == MAX_ATTEMPTS
    assert wire.sender.num_retransmissions == MAX_ATTEMPTS - 1


def test_the_corrupted_bit_is_the_same_each_time() -> None:
    sent = [SenderEnd(LINK, 1, 1, AlwaysCorrupted()).send(packet(3), 0.0) for _ in range(2)]
    assert sent[0] == sent[1]


def test_a_packet_beyond_the_credits_is_refused() -> None:
    receiver = ReceiverEnd(LINK, 1, 1, num_credits=4)
    assert receiver.take(packet(0)._replace(sequence=4)) == ()
    assert receiver.num_refused == 1 and receiver.status() is None


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgpack.packb(5),
        msgpack.packb([[0, 0, 0, 0]]),
        msgpack.packb([[0, 0, -1, 0, []]]),
        msgpack.packb([[0, 0, 0, 0, ["x"]]]),
        msgpack.packb([[0, 0, 0, True, []]]),
        pack_statuses([Status(7, 0, 0, 0, ())]),  # a channel without packets
        pack_statuses([Status(0, 2, 2, 0, ())]),  # more than was sent
        pack_statuses([Status(0, 1, 2, 0, ())]),
        pack_statuses([Status(0, 0, 1, 1, ())]),
    ],
)
def test_a_status_that_cannot_be_is_a_packet_error(payload: bytes) -> None:
    sender = SenderEnd(LINK, 1, 1)
    sender.send(packet(0), 0.0)
    with pytest.raises(PacketError):
        sender.take_status(packet(0)._replace(payload=payload), 0.0)


numbers = st.integers(0, 2**40)
statuses = st.builds(Status, numbers, numbers, numbers, numbers, st.lists(numbers).map(tuple))


@given(st.lists(statuses))
def test_a_status_comes_back_as_it_was(states: list[Status]) -> None:
    assert unpack_statuses(pack_statuses(states)) == states


def test_statistics_add_up_field_by_field() -> None:
    ones = PacketStatistics(*[1] * len(fields(PacketStatistics)))
    assert ones + ones == PacketStatistics(*[2] * len(fields(PacketStatistics)))
