"""A strict reader of the wire format of protocol buffers: every byte must belong to a field."""

from collections.abc import Iterator

Fields = dict[int, list[int | bytes]]


def fields(content: bytes) -> Fields:
    """The fields of a message by number, in the order in which they stand."""
    found: Fields = {}
    at = 0
    while at < len(content):
        key, at = varint(content, at)
        value: int | bytes
        if key & 7 == 0:
            value, at = varint(content, at)
        elif key & 7 == 1:
            value, at = int.from_bytes(_take(content, at, 8), "little"), at + 8
        else:
            assert key & 7 == 2, f"kind {key & 7} of field {key >> 3}"
            size, at = varint(content, at)
            value, at = _take(content, at, size), at + size
        found.setdefault(key >> 3, []).append(value)
    return found


def varint(content: bytes, at: int) -> tuple[int, int]:
    """A number, and where what follows it begins; it must be as short as can be."""
    value = shift = 0
    while True:
        byte = content[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            assert byte or shift == 7, "a varint longer than it need be"
            return value, at


def stream(content: bytes) -> Iterator[bytes]:
    """The messages of a stream, each after its length."""
    at = 0
    while at < len(content):
        size, at = varint(content, at)
        yield _take(content, at, size)
        at += size


def one(found: Fields, number: int) -> int:
    """The integer in a field that must be there once."""
    (value,) = found[number]
    assert isinstance(value, int)
    return value


def part(found: Fields, number: int) -> bytes:
    """The bytes in a field that must be there once."""
    (value,) = found[number]
    assert isinstance(value, bytes)
    return value


def text(found: Fields, number: int) -> str:
    """The string in a field that must be there once."""
    return part(found, number).decode()


def parts(found: Fields, number: int) -> list[Fields]:
    """The messages in a field that may be there any number of times."""
    return [fields(value) for value in found.get(number, []) if isinstance(value, bytes)]


def _take(content: bytes, at: int, size: int) -> bytes:
    assert at + size <= len(content), "the message ends before its field does"
    return content[at : at + size]
