"""The wire format: what is written is read back, and is what the format's own page shows."""

from hypothesis import given
from hypothesis import strategies as st

from meshtwin.deploy.reports import protobuf

from . import wire

NUMBERS = st.integers(0, 2**64 - 1)


def test_the_examples_of_the_format_s_own_page() -> None:
    assert protobuf.varint(150) == bytes.fromhex("9601")
    assert protobuf.number(1, 150) == bytes.fromhex("089601")
    assert protobuf.text(2, "testing") == bytes.fromhex("120774657374696e67")
    assert protobuf.packed(6, [3, 270, 86942]) == bytes.fromhex("3206038e029ea705")


@given(NUMBERS, NUMBERS, st.text(), st.lists(NUMBERS))
def test_fields_come_back(first: int, second: int, words: str, many: list[int]) -> None:
    content = protobuf.number(1, first) + protobuf.fixed64(2, second) + protobuf.text(47, words)
    found = wire.fields(content + protobuf.packed(4, many))
    assert (wire.one(found, 1), wire.one(found, 2), wire.text(found, 47)) == (first, second, words)
    at, back = 0, []
    packed = wire.part(found, 4) if many else b""
    while at < len(packed):
        value, at = wire.varint(packed, at)
        back.append(value)
    assert back == many


@given(st.lists(st.binary()))
def test_a_stream_of_messages_comes_back(messages: list[bytes]) -> None:
    content = b"".join(map(protobuf.delimited, messages))
    assert list(wire.stream(content)) == messages
