"""Where a flight recorder keeps what, and records that can be read while they are written.

A record is written by one `pack_into`, front to back, with the number of the write (the stamp) as
its first and its last word. A reader looks at the last word, copies the record, and looks at the
first word of the copy's place: equal stamps mean that no write came in between. That holds where
stores are seen in order (x86); elsewhere a torn record might pass, so a verdict takes two looks.
"""

import struct
from enum import Enum
from typing import Any

NUM_ENTRIES = 64
ENTRY_BYTES = 256
NUM_TEXTS = 128  # more than entries: no text that an entry names is ever overwritten
TEXT_BYTES = 256
MASK_BYTES = 128
MAX_CHIPS = 8 * MASK_BYTES  # awaited chips beyond that are not noted
TRIES = 1000  # a write takes about a microsecond; a writer that died in one leaves a torn record

HEADER = struct.Struct("=8sqq")  # magic, wall time at monotonic zero (ns), chip
STATUS = struct.Struct(f"=QIB?xx{MASK_BYTES}sQQ")
"""Stamp, text id, activity, any_of, awaited, sequence of the call, stamp."""
ENTRY = struct.Struct(f"=QQqqqqIB?xx{MASK_BYTES}sQ")
"""Stamp, sequence, changed (monotonic ns), number, simulated start (ps), entered (monotonic ns),
text id, state, any_of, awaited, stamp."""
MAX_TEXT_BYTES = TEXT_BYTES - 24
TEXT = struct.Struct(f"=QIHxx{MAX_TEXT_BYTES}sQ")
"""Stamp, text id, length, UTF-8, stamp."""

MAGIC = b"mtflight"
STATUS_AT = 64
ENTRIES_AT = STATUS_AT + 192
TEXTS_AT = ENTRIES_AT + NUM_ENTRIES * ENTRY_BYTES
COUNT = struct.Struct("=Q")
WAITS_FOR_FRAME_AT = TEXTS_AT + NUM_TEXTS * TEXT_BYTES
SENT_AT = WAITS_FOR_FRAME_AT + COUNT.size  # a count for each chip: frames sent to it in this run
TAKEN_AT = SENT_AT + MAX_CHIPS * COUNT.size  # and frames of it that the program has taken
FLIGHT_BYTES = TAKEN_AT + MAX_CHIPS * COUNT.size
"""What a flight recorder takes of a chip's memory, aligned to 8 bytes."""

_STAMP = struct.Struct("=Q")


class CallState(Enum):
    """How far a call came. It is over once there is a later one: nothing is written at its end."""

    ENTERED = 1
    WAITING = 2


def read_record(buffer: memoryview, at: int, layout: struct.Struct) -> tuple[Any, ...] | None:
    """The record at `at`, whole; None when it was never written or is forever half-written."""
    last_at = at + layout.size - _STAMP.size
    for _ in range(TRIES):
        (last,) = _STAMP.unpack_from(buffer, last_at)
        record = layout.unpack(bytes(buffer[at : at + layout.size]))
        (first,) = _STAMP.unpack_from(buffer, at)
        if first == last == record[0] == record[-1]:
            return record if first else None
    return None


def mask_of(chips: tuple[int, ...]) -> bytes:
    """A bit for every chip below MAX_CHIPS."""
    bits = sum(1 << chip for chip in set(chips) if 0 <= chip < MAX_CHIPS)
    return bits.to_bytes(MASK_BYTES, "little")


def chips_of(mask: bytes) -> tuple[int, ...]:
    """The chips of a mask, ascending."""
    bits = int.from_bytes(mask, "little")
    return tuple(chip for chip in range(bits.bit_length()) if bits >> chip & 1)
