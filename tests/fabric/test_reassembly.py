"""Frames cut and put together again: whole, and in the order of their source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.errors import PacketError
from meshtwin.fabric.packet import Kind, Packet
from meshtwin.fabric.reassembly import Reassembly, join, split


def pieces(src: int, order: int, body: bytes, size: int = 5) -> list[Packet]:
    cuts = [body[at : at + size] for at in range(0, len(body), size)]
    count = len(cuts)
    return [
        Packet(Kind.DATA, 1, 1, src, 9, (src, 9), 1, 0, 40, order, n, count, 0, 0, 0, cut)
        for n, cut in enumerate(cuts)
    ]


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_a_frame_comes_back_as_it_was(header: bytes, payload: bytes) -> None:
    found_header, found_payload = split(join(header, payload))
    assert (found_header, bytes(found_payload)) == (header, payload)


@pytest.mark.parametrize("body", [b"", b"\1\0\0", b"\5\0\0\0four"])
def test_a_frame_that_is_too_short_is_a_packet_error(body: bytes) -> None:
    with pytest.raises(PacketError):
        split(body)


@given(st.permutations(range(6)))
def test_messages_of_a_source_come_in_order_however_they_overtake_each_other(
    order: list[int],
) -> None:
    reassembly = Reassembly()
    messages = {(src, n): bytes([src, n]) * n for src in (0, 1) for n in range(6)}
    arrived = []
    for number in order:
        for src in (0, 1):
            body = join(b"h", messages[src, number])
            for packet in pieces(src, number, body):
                arrived += [(src, bytes(payload)) for _, payload in reassembly.take(packet)]
    for src in (0, 1):
        came = [payload for who, payload in arrived if who == src]
        assert came == [messages[src, n] for n in range(6)]
    assert reassembly.num_unfinished == 0


def test_a_piece_out_of_turn_is_a_packet_error() -> None:
    reassembly = Reassembly()
    first, second, *_ = pieces(0, 0, join(b"header", b"payload"))
    with pytest.raises(PacketError, match="expected piece 0"):
        reassembly.take(second)
    assert reassembly.take(first) == []
    with pytest.raises(PacketError, match="expected piece 1"):
        reassembly.take(first)
    assert reassembly.num_unfinished == 1
