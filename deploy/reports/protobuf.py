"""The wire format of protocol buffers, as much of it as the reports write.

A message is its fields one after another, each a key (field number and kind) and a value: a varint,
8 bytes, or a length and so many bytes (text, a message in the message, a packed list).
Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterable

VARINT, FIXED64, LENGTH = 0, 1, 2
"""Kinds of fields."""


def varint(value: int) -> bytes:
    """A number of 0 or more, 7 bits a byte, the low ones first."""
    assert value >= 0, value
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """A field that is an integer, a bool or an enum."""
    return varint(field << 3 | VARINT) + varint(value)


def fixed64(field: int, value: int) -> bytes:
    """A field of 8 bytes."""
    return varint(field << 3 | FIXED64) + value.to_bytes(8, "little")


def message(field: int, content: bytes) -> bytes:
    """A field that is a message, or bytes."""
    return varint(field << 3 | LENGTH) + varint(len(content)) + content


def text(field: int, value: str) -> bytes:
    """A field that is a string."""
    return message(field, value.encode())


def packed(field: int, values: Iterable[int]) -> bytes:
    """A field that is a list of integers; nothing when it is empty."""
    content = b"".join(map(varint, values))
    return message(field, content) if content else b""


def delimited(content: bytes) -> bytes:
    """A message in a stream of messages: its length, then it."""
    return varint(len(content)) + content
