"""Packets: what crosses one link at a time; a header, a payload and their checksum, as bytes.

A packet is one msgpack array (version, header fields, payload) and then its CRC-32C (RFC 3720,
Castagnoli), 4 bytes, least significant first. There is one encoding of a packet: what decodes
encodes to the same bytes again. `decode_packet` raises PacketError whatever else the bytes are.
"""

from enum import IntEnum
from typing import Any, NamedTuple

import google_crc32c
import msgpack

from .errors import CrcError, PacketError
from .fate import Link

VERSION = 1
CRC_BYTES = 4
MAX_PACKET_BYTES = 1 << 20
_NUM_VALUES = 17
_MAX_NUMBER = 1 << 64


class Kind(IntEnum):
    """What a packet is for."""

    DATA = 0  # a piece of a message
    STATUS = 1  # the receiving end of a link answers: what has come, which credits are free
    PROBE = 2  # the sending end of a link asks for a status
    DOWN = 3  # a link gave up: the run cannot go on


class Packet(NamedTuple):
    """One packet on one link. All numbers are >= 0 and below 2**64."""

    kind: Kind
    session: int  # of the mesh: what another mesh sent is refused
    run_id: int
    src: int  # the chips at the ends of the route
    dst: int
    route: tuple[int, ...]  # ranks, both ends included
    position: int  # in the route, of the chip that this packet is sent to
    channel: int  # virtual channel on this link
    message: int  # numbered by the sender, from zero in each run
    order: int  # the same, but among the messages of this pair of chips
    piece: int  # of the message, from zero
    num_pieces: int  # >= 1: one packet each
    attempt: int  # how often this link has lost it
    sequence: int  # on this link and virtual channel, from zero in each run
    serial: int  # the same, and every transmission counts
    payload: bytes = b""

    @property
    def link(self) -> Link:
        """The link that it crosses."""
        return self.route[self.position - 1], self.route[self.position]


def crc32c(data: bytes) -> int:
    """CRC-32C of the bytes."""
    value: int = google_crc32c.value(data)
    return value


def encode_packet(packet: Packet) -> bytes:
    """The packet as bytes.

    Raises:
        PacketError: a field is out of range.
    """
    _check(packet)
    body = _pack(packet)
    if len(body) + CRC_BYTES > MAX_PACKET_BYTES:
        raise PacketError(f"{len(body)} bytes", f"at most {MAX_PACKET_BYTES - CRC_BYTES}")
    return body + crc32c(body).to_bytes(CRC_BYTES, "little")


def decode_packet(data: bytes) -> Packet:
    """The packet that `encode_packet` made.

    Raises:
        CrcError: the checksum is wrong.
        PacketError: the bytes are no packet of this version.
    """
    if not CRC_BYTES < len(data) <= MAX_PACKET_BYTES:
        raise PacketError(f"{len(data)} bytes", f"{CRC_BYTES + 1} to {MAX_PACKET_BYTES}")
    body, found = data[:-CRC_BYTES], int.from_bytes(data[-CRC_BYTES:], "little")
    if (computed := crc32c(body)) != found:
        raise CrcError(f"CRC-32C {found:#010x}", f"{computed:#010x}")
    packet = _unpack(body)
    _check(packet)
    if _pack(packet) != body:
        raise PacketError("another encoding of the same packet", "the shortest")
    return packet


def _pack(packet: Packet) -> bytes:
    packed: bytes = msgpack.packb((VERSION, *packet))
    return packed


def _unpack(body: bytes) -> Packet:
    try:
        values: Any = msgpack.unpackb(body, use_list=False, max_map_len=0, max_ext_len=0)
    except Exception as error:  # msgpack raises a dozen kinds, some of them not its own
        raise PacketError(
            f"{len(body)} bytes that msgpack refuses ({error})", "a packet"
        ) from error
    if type(values) is not tuple or len(values) != _NUM_VALUES:
        raise PacketError(f"{type(values).__name__} as header", f"an array of {_NUM_VALUES}")
    if type(values[0]) is not int or values[0] != VERSION:
        raise PacketError(f"version {values[0]!r:.80}", f"version {VERSION}")
    if type(values[1]) is not int or values[1] not in _KINDS:
        raise PacketError(f"kind {values[1]!r:.80}", "one of Kind")
    return Packet(_KINDS[values[1]], *values[2:])


def _check(packet: Packet) -> None:
    if type(packet.route) is not tuple or type(packet.payload) is not bytes:
        raise PacketError(
            f"route {packet.route!r:.80}, payload of type {type(packet.payload).__name__}",
            "a tuple of ranks, and bytes",
        )
    for number in (*packet[1:5], *packet.route, *packet[6:15]):
        if type(number) is not int or not 0 <= number < _MAX_NUMBER:
            raise PacketError(f"{number!r:.80} in the header", "integers of 64 bits, >= 0")
    if not 0 < packet.position < len(packet.route):
        raise PacketError(f"position {packet.position}", f"1..{len(packet.route) - 1}")
    if packet.piece >= packet.num_pieces:
        raise PacketError(f"piece {packet.piece} of {packet.num_pieces}", "piece < num_pieces")


_KINDS = {int(kind): kind for kind in Kind}
