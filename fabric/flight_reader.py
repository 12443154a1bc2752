"""Reading a flight recorder: from any process, at any time, without a lock."""

from dataclasses import dataclass

from .flight_layout import (
    COUNT,
    ENTRIES_AT,
    ENTRY,
    ENTRY_BYTES,
    FLIGHT_BYTES,
    HEADER,
    MAGIC,
    NUM_ENTRIES,
    NUM_TEXTS,
    SENT_AT,
    STATUS,
    STATUS_AT,
    TAKEN_AT,
    TEXT,
    TEXT_BYTES,
    TEXTS_AT,
    WAITS_FOR_FRAME_AT,
    CallState,
    chips_of,
    read_record,
)
from .waits import Activity, ChipStatus

UNREADABLE = "(overwritten)"
"""The text of a call when the writer replaced it between two glances of the reader."""


@dataclass(frozen=True, slots=True)
class FlightEntry:
    """One call of a chip: its running number, what it was, and how far it came.

    `number` is the number of the collective in its group (-1: not a collective); `awaited` are the
    chips that it waits for, or waited for last. Wall-clock times are nanoseconds since the epoch:
    when it was entered, and when its state changed last.
    """

    sequence: int
    text: str
    number: int
    state: CallState
    awaited: tuple[int, ...]
    any_of: bool
    sim_start_ps: int
    wall_entered_ns: int
    wall_changed_ns: int


def read_flight(buffer: memoryview) -> list[FlightEntry]:
    """The last calls of the chip that writes here, oldest first; none before it has begun."""
    begun = _begun(buffer)
    if begun is None:
        return []
    wall_base_ns, _ = begun
    places = range(ENTRIES_AT, ENTRIES_AT + NUM_ENTRIES * ENTRY_BYTES, ENTRY_BYTES)
    entries = [_entry(buffer, at, wall_base_ns) for at in places]
    return sorted((e for e in entries if e is not None), key=lambda entry: entry.sequence)


def read_status(buffer: memoryview) -> ChipStatus:
    """What the chip does; a chip that cannot be read (not begun, or died writing) counts as idle.

    Equal `since` in two looks: nothing has moved in between.
    """
    record = None if _begun(buffer) is None else read_record(buffer, STATUS_AT, STATUS)
    if record is None:
        return ChipStatus(Activity.IDLE)
    stamp, text_id, activity, any_of, mask, _, _ = record
    what = _text(buffer, text_id)
    return ChipStatus(Activity(activity), chips_of(mask), what, stamp, bool(any_of))


def waits_for_frame(buffer: memoryview) -> bool:
    """Is what the chip waits for a frame, which may be under way already?"""
    return bool(COUNT.unpack_from(buffer, WAITS_FOR_FRAME_AT)[0])


def num_sent(buffer: memoryview, dst: int) -> int:
    """Frames that the program has sent to `dst` in this run."""
    return int(COUNT.unpack_from(buffer, SENT_AT + dst * COUNT.size)[0])


def num_taken(buffer: memoryview, src: int) -> int:
    """Frames of `src` that the program has taken in this run."""
    return int(COUNT.unpack_from(buffer, TAKEN_AT + src * COUNT.size)[0])


def read_chip(buffer: memoryview) -> int | None:
    """Whose record it is; None before the writer has begun."""
    begun = _begun(buffer)
    return None if begun is None else begun[1]


def _begun(buffer: memoryview) -> tuple[int, int] | None:
    """Wall-clock base and chip, once the writer is ready."""
    if len(buffer) < FLIGHT_BYTES:
        raise ValueError(f"buffer (of {len(buffer)} bytes) must have {FLIGHT_BYTES} bytes")
    magic, wall_base_ns, chip = HEADER.unpack_from(buffer, 0)
    return (wall_base_ns, chip) if magic == MAGIC else None


def _entry(buffer: memoryview, at: int, wall_base_ns: int) -> FlightEntry | None:
    record = read_record(buffer, at, ENTRY)
    if record is None:
        return None
    _, sequence, changed_ns, number, sim_start_ps, entered_ns, text_id = record[:7]
    state, any_of, mask, _ = record[7:]
    return FlightEntry(
        sequence=sequence,
        text=_text(buffer, text_id),
        number=number,
        state=CallState(state),
        awaited=chips_of(mask),
        any_of=bool(any_of),
        sim_start_ps=sim_start_ps,
        wall_entered_ns=wall_base_ns + entered_ns,
        wall_changed_ns=wall_base_ns + changed_ns,
    )


def _text(buffer: memoryview, text_id: int) -> str:
    record = read_record(buffer, TEXTS_AT + text_id % NUM_TEXTS * TEXT_BYTES, TEXT)
    if record is None or record[1] != text_id:
        return UNREADABLE
    _, _, num_bytes, data, _ = record
    text: str = data[:num_bytes].decode(errors="ignore")
    return text
