"""Frames: a header that says what a message is, and its payload, as bytes.

The header is one msgpack array; the payload is never inside it. `decode_header` checks everything
and raises FrameError, never another exception, whatever the bytes are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from .errors import FrameError

VERSION = 1
_MAX_HEADER_BYTES = 1 << 20
_NAMES = ("version", "kind", "src", "dst", "run_id", "tag", "sequence", "fields")
_TYPES = (int, str, int, int, int, str, int, dict)


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a message is, from whom to whom, in which run."""

    kind: str  # "data", "control", ...: the words of the floor above
    src: int
    dst: int
    run_id: int
    tag: str = ""
    sequence: int = 0
    fields: Mapping[str, Any] = field(default_factory=dict)  # whatever msgpack can carry


def encode_header(header: FrameHeader) -> bytes:
    """The header as bytes.

    Raises:
        FrameError: a field cannot be carried by msgpack.
    """
    values = (
        VERSION,
        header.kind,
        header.src,
        header.dst,
        header.run_id,
        header.tag,
        header.sequence,
        dict(header.fields),
    )
    try:
        packed: bytes = msgpack.packb(values)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise FrameError(f"header {header}: {error}", "values that msgpack can carry") from error
    if len(packed) > _MAX_HEADER_BYTES:
        raise FrameError(f"header of {len(packed)} bytes", f"at most {_MAX_HEADER_BYTES}")
    return packed


def decode_header(data: bytes | bytearray | memoryview) -> FrameHeader:
    """The header that `encode_header` made.

    Raises:
        FrameError: the bytes are anything else.
    """
    values = _unpack(data)
    if not isinstance(values, list) or len(values) != len(_NAMES):
        raise FrameError(f"{type(values).__name__} as header", f"an array of {len(_NAMES)}")
    if values[0] != VERSION:
        raise FrameError(f"version {values[0]!r}", f"version {VERSION}")
    for name, value, kind in zip(_NAMES, values, _TYPES, strict=True):
        if type(value) is not kind:
            raise FrameError(f"{name} is {value!r:.80}", f"a value of type {kind.__name__}")
        if isinstance(value, int) and value < 0:
            raise FrameError(f"{name} is {value}", "a number >= 0")
    return FrameHeader(*values[1:])


def _unpack(data: bytes | bytearray | memoryview) -> Any:
    if len(data) > _MAX_HEADER_BYTES:
        raise FrameError(f"header of {len(data)} bytes", f"at most {_MAX_HEADER_BYTES}")
    try:
        return msgpack.unpackb(data)
    except Exception as error:  # msgpack raises a dozen kinds, some of them not its own
        raise FrameError(f"{len(data)} bytes that msgpack refuses ({error})", "a header") from error
