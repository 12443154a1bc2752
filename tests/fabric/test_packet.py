"""Packets: what goes in comes out; anything else is a PacketError, and soon."""

from collections.abc import Iterator
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import CrcError, PacketError
from meshtwin.fabric.packet import (
    MAX_PACKET_BYTES,
    VERSION,
    Kind,
    Packet,
    crc32c,
    decode_packet,
    encode_packet,
)

# RFC 3720, appendix B.4; the read command of iSCSI is its last example.
READ_COMMAND = bytes.fromhex(
    "01c00000000000000000000000000000140000000000040000000014000000182800000000000000"
    "0200000000000000"
)
CRCS = {
    bytes(32): 0x8A9136AA,
    b"\xff" * 32: 0x62A8AB43,
    bytes(range(32)): 0x46DD794E,
    bytes(range(31, -1, -1)): 0x113FDB5C,
    READ_COMMAND: 0xD9963A56,
}

numbers = st.integers(0, 2**64 - 1)


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    route = tuple(draw(st.lists(numbers, min_size=2, max_size=12)))
    piece = draw(st.integers(0, 2**40))
    return Packet(
        kind=draw(st.sampled_from(Kind)),
        session=draw(numbers),
        run_id=draw(numbers),
        src=draw(numbers),
        dst=draw(numbers),
        route=route,
        position=draw(st.integers(1, len(route) - 1)),
        channel=draw(numbers),
        message=draw(numbers),
        order=draw(numbers),
        piece=piece,
        num_pieces=draw(st.integers(piece + 1, 2**64 - 1)),
        attempt=draw(numbers),
        sequence=draw(numbers),
        serial=draw(numbers),
        payload=draw(st.binary(max_size=300)),
    )


EXAMPLE = Packet(Kind.DATA, 7, 2, 0, 2, (0, 1, 2), 1, 0, 4, 1, 0, 3, 0, 5, 6, b"payload")


@pytest.mark.parametrize("data", CRCS, ids=len)
def test_the_checksum_is_that_of_the_rfc(data: bytes) -> None:
    assert crc32c(data) == CRCS[data]


@given(packets())
def test_a_packet_comes_back_as_it_was(packet: Packet) -> None:
    data = encode_packet(packet)
    assert decode_packet(data) == packet
    assert type(decode_packet(data).kind) is Kind


def test_a_packet_knows_the_link_that_it_crosses() -> None:
    assert EXAMPLE.link == (0, 1)
    assert EXAMPLE._replace(position=2).link == (1, 2)


@given(packets(), st.data())
def test_any_flipped_bit_is_found_by_the_checksum(packet: Packet, data: st.DataObject) -> None:
    packed = bytearray(encode_packet(packet))
    at = data.draw(st.integers(0, 8 * len(packed) - 1))
    packed[at // 8] ^= 1 << at % 8
    with pytest.raises(CrcError):
        decode_packet(bytes(packed))


def sealed(body: bytes) -> bytes:
    """Bytes with a good checksum, whatever they are."""
    return body + crc32c(body).to_bytes(4, "little")


@given(st.binary(max_size=100))
def test_a_good_checksum_alone_makes_no_packet(body: bytes) -> None:
    with pytest.raises(PacketError):
        decode_packet(sealed(body))


WRONG: dict[str, Any] = {
    "kind": 9,
    "src": -1,
    "dst": True,
    "run_id": 1.0,
    "route": (0, "1"),
    "position": 0,
    "piece": 3,
    "session": None,
    "payload": "text",
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_field_is_refused_at_both_ends(name: str) -> None:
    wrong = EXAMPLE._replace(**{name: WRONG[name]})
    if name != "kind":
        with pytest.raises(PacketError):
            encode_packet(wrong)
    with pytest.raises(PacketError, match="expected"):
        decode_packet(sealed(msgpack.packb((VERSION, *wrong))))


@pytest.mark.parametrize(
    "body",
    [
        msgpack.packb((VERSION + 1, *EXAMPLE)),
        msgpack.packb((VERSION, *EXAMPLE, 0)),
        msgpack.packb({"version": 1}),
        msgpack.packb(msgpack.Timestamp(1)),
        b"\x91" * 5000,
        b"\xdc\x00\x11" + msgpack.packb((VERSION, *EXAMPLE))[3:-1] + b"\xff" * 9,
    ],
    ids=["version", "length", "map", "extension", "nested", "tail"],
)
def test_what_msgpack_can_read_is_not_yet_a_packet(body: bytes) -> None:
    with pytest.raises(PacketError):
        decode_packet(sealed(body))


def test_a_longer_encoding_of_a_packet_is_refused() -> None:
    body = msgpack.packb((VERSION, *EXAMPLE))
    assert body[3:5] == bytes([VERSION, Kind.DATA])
    longer = body[:3] + b"\xcc" + body[3:]  # the version in two bytes
    assert msgpack.unpackb(longer) == msgpack.unpackb(body)
    with pytest.raises(PacketError, match="another encoding"):
        decode_packet(sealed(longer))


def test_a_packet_has_a_largest_size() -> None:
    with pytest.raises(PacketError, match="at most"):
        encode_packet(EXAMPLE._replace(payload=bytes(MAX_PACKET_BYTES)))
    with pytest.raises(PacketError, match="bytes"):
        decode_packet(bytes(MAX_PACKET_BYTES + 1))


NUM_FUZZED = 1_000_000
BLOCK = 10_000  # inputs of one kind that are made at once


def fuzzed(kind: str, dice: np.random.Generator, valid: list[bytes]) -> Iterator[bytes]:
    """A block of inputs of one kind, made from packets that are valid."""
    picks, others = dice.integers(0, len(valid), (2, BLOCK)).tolist()
    cuts, places = dice.random((2, BLOCK)).tolist()
    noise = dice.bytes(300 + BLOCK)
    for number in range(BLOCK):
        packet, other = valid[picks[number]], valid[others[number]]
        cut, place = int(cuts[number] * len(packet)), int(places[number] * 8 * len(packet))
        if kind == "noise":
            yield noise[number : number + cut]
        elif kind == "flip":
            flipped = bytearray(packet)
            flipped[place // 8] ^= 1 << place % 8
            yield bytes(flipped)
        elif kind == "truncation":
            yield packet[:cut]
        elif kind == "splice":
            yield packet[:cut] + other[cut:]
        elif kind == "sealed flip":
            flipped = bytearray(packet[:-4])
            flipped[place // 8 % len(flipped)] ^= 1 << place % 8
            yield sealed(bytes(flipped))
        elif kind == "sealed splice":
            yield sealed(packet[: min(cut, len(packet) - 4)] + other[cut:-4])
        else:
            yield sealed(noise[number : number + cut])


KINDS = ("noise", "flip", "truncation", "splice", "sealed flip", "sealed splice", "sealed noise")


def fuzz(num_inputs: int) -> tuple[int, int]:
    """How many inputs were packets, and how many were refused."""
    dice = np.random.default_rng(3720)
    valid = [
        encode_packet(EXAMPLE._replace(message=number, run_id=number**3, payload=bytes(number)))
        for number in range(0, 200, 7)
    ]
    accepted = refused = 0
    for block in range(num_inputs // BLOCK):
        for data in fuzzed(KINDS[block % len(KINDS)], dice, valid):
            try:
                packet = decode_packet(data)
            except PacketError:
                refused += 1
            else:
                assert encode_packet(packet) == data
                accepted += 1
    return accepted, refused


def test_some_damaged_inputs_are_packets_or_refused() -> None:
    accepted, refused = fuzz(len(KINDS) * BLOCK)
    assert accepted > 0 and refused > 0


@pytest.mark.slow
def test_a_million_damaged_inputs_are_packets_or_refused() -> None:
    accepted, refused = fuzz(NUM_FUZZED)
    assert accepted + refused == NUM_FUZZED
    assert accepted > 0
