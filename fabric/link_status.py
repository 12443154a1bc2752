"""What the ends of a link tell each other, and what they count."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import msgpack

from .errors import PacketError
from .fate import Link
from .packet import Kind, Packet

NUM_CREDITS = 8  # places in the buffer of each virtual channel; assumed


@dataclass(frozen=True, slots=True)
class PacketStatistics:
    """What packets did on one directed link: the first five at its sender, the rest at its end."""

    num_packets: int = 0
    num_bytes: int = 0  # payloads, each attempt
    num_retransmissions: int = 0  # of what the link lost
    num_dropped: int = 0  # by the link
    num_corrupted: int = 0  # by the link
    num_crc_errors: int = 0  # corruption that the receiver found
    num_duplicates: int = 0
    num_refused: int = 0  # of another mesh, run, route or window

    def __add__(self, other: "PacketStatistics") -> "PacketStatistics":
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return PacketStatistics(*(a + b for a, b in pairs))


class Status(NamedTuple):
    """What has come on one virtual channel. Counts only grow, so a status may come twice."""

    channel: int
    expected: int  # the next sequence number: all before it have come
    num_seen: int  # transmissions: one more than the last serial
    num_freed: int  # packets that have left the buffer
    early: tuple[int, ...]  # sequence numbers that have come out of order


def control(kind: Kind, session: int, run_id: int, link: Link) -> Packet:
    """A packet between the two ends of a link, with nothing in it yet."""
    return Packet(kind, session, run_id, *link, link, 1, 0, 0, 0, 0, 1, 0, 0, 0)


def pack_statuses(statuses: Sequence[Status]) -> bytes:
    """The payload of a status packet: one status for each channel with news."""
    packed: bytes = msgpack.packb(statuses)
    return packed


def unpack_statuses(payload: bytes) -> list[Status]:
    """What `pack_statuses` packed.

    Raises:
        PacketError: the bytes are anything else.
    """
    try:
        states = msgpack.unpackb(payload, use_list=False)
        return [_checked(*state) for state in states]
    except Exception as error:  # msgpack raises a dozen kinds, some of them not its own
        raise PacketError(f"a status that cannot be read ({error})", "five values") from error


def _checked(
    channel: int, expected: int, num_seen: int, num_freed: int, early: tuple[int, ...]
) -> Status:
    for number in (channel, expected, num_seen, num_freed, *early):
        if type(number) is not int or number < 0:
            raise ValueError(f"{number!r:.80} is no number >= 0")
    return Status(channel, expected, num_seen, num_freed, early)
