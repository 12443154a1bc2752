"""What a chip did last and does now, written as it happens and readable by anybody at any time.

A ring holds the last 64 calls of a chip; one record beside it says what the chip does and for whom
it waits. One chip writes; readers (flight_reader) take no lock and never hold it up. The words of
a call are written once, into a table, and calls name them by number.

    recorder.enter("all_reduce(shape (4, 8), float32) at train.py:12", number=3, sim_start_ps=0)
    recorder.wait((1, 2))     # only when it really waits
    recorder.resume()         # what it waited for has come
"""

from collections.abc import Callable

from .flight_layout import (
    COUNT,
    ENTRIES_AT,
    ENTRY,
    ENTRY_BYTES,
    FLIGHT_BYTES,
    HEADER,
    MAGIC,
    MAX_TEXT_BYTES,
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
    mask_of,
)
from .waits import Activity

MOST_MASKS = 1024  # sets of awaited chips remembered as bits
_NOBODY = mask_of(())
_RUNNING, _WAITING = Activity.RUNNING.value, Activity.WAITING.value
_ENTERED, _WAITS = CallState.ENTERED.value, CallState.WAITING.value


class FlightRecorder:
    """The writing end, of one thread of one chip.

    Args:
        buffer: FLIGHT_BYTES of writable bytes, aligned to 8.
        clock_ns: monotonic nanoseconds, the same clock in every process of the host.
        wall_base_ns: the wall-clock time at which `clock_ns` was zero.
        chip: whose record it is.
    """

    def __init__(
        self, buffer: memoryview, clock_ns: Callable[[], int], wall_base_ns: int, chip: int = 0
    ) -> None:
        if len(buffer) < FLIGHT_BYTES:
            raise ValueError(f"buffer (of {len(buffer)} bytes) must have {FLIGHT_BYTES} bytes")
        self._buffer = buffer
        self._clock_ns = clock_ns
        self._stamp = 0  # of the last write
        self._sequence = 0  # of the last call
        self._at = ENTRIES_AT
        self._call = (-1, 0, 0, 0)  # its number, simulated start, entry time, text id
        self._awaited: tuple[bool, bytes] = (False, _NOBODY)
        self._sent: dict[int, int] = {}
        self._taken: dict[int, int] = {}
        self._sent_at: dict[int, int] = {}
        self._taken_at: dict[int, int] = {}
        self._masks: dict[tuple[int, ...], bytes] = {}
        self._text_ids: dict[str, int] = {}
        self._text_at: list[str | None] = [None] * NUM_TEXTS
        self._ids_in_ring = [0] * NUM_ENTRIES
        self._next_text_id = 0
        buffer[:FLIGHT_BYTES] = bytes(FLIGHT_BYTES)
        self._new_text("")
        self.set_activity(Activity.IDLE)
        HEADER.pack_into(buffer, 0, MAGIC, wall_base_ns, chip)

    def let_go(self) -> None:
        """Let go of the buffer, which is to be closed; what is noted from now on nobody reads."""
        self._buffer = memoryview(bytearray(self._buffer))

    def begin_run(self) -> None:
        """A program begins: it has sent and taken no frames yet."""
        for at in (*self._sent_at.values(), *self._taken_at.values(), WAITS_FOR_FRAME_AT):
            COUNT.pack_into(self._buffer, at, 0)
        self._sent.clear()
        self._taken.clear()
        self.set_activity(Activity.RUNNING)

    def sent_frame(self, dst: int) -> None:
        """The program hands a frame for `dst` to the transport; noted before it does."""
        self._count(self._sent, self._sent_at, SENT_AT, dst)

    def took_frame(self, src: int) -> None:
        """The program has taken a frame of `src` from the transport."""
        self._count(self._taken, self._taken_at, TAKEN_AT, src)

    def waits_for_frame(self, is_so: bool) -> None:
        """Whether what the program waits for is a frame, which may be under way already."""
        COUNT.pack_into(self._buffer, WAITS_FOR_FRAME_AT, is_so)

    def _count(self, counts: dict[int, int], places: dict[int, int], base: int, chip: int) -> None:
        count = counts[chip] = counts.get(chip, 0) + 1
        at = places.get(chip)
        if at is None:
            at = places[chip] = base + chip * COUNT.size
        COUNT.pack_into(self._buffer, at, count)

    def set_activity(self, activity: Activity) -> None:
        """Note that the chip has started its program, ended it, was stalled, and so on."""
        self._note_status(activity.value, False, _NOBODY)

    def enter(self, text: str, number: int = -1, sim_start_ps: int = 0) -> None:
        """Begin a call, number `number` of its group's collectives (-1: not a collective).

        A call from one line of a program should have one text, however often it is made.
        """
        text_id = self._text_ids.get(text)
        if text_id is None:
            text_id = self._new_text(text)
        place = self._sequence % NUM_ENTRIES
        self._sequence += 1
        self._at = ENTRIES_AT + place * ENTRY_BYTES
        self._ids_in_ring[place] = text_id
        entered_ns = self._clock_ns()
        self._call = (number, sim_start_ps, entered_ns, text_id)
        self._awaited = (False, _NOBODY)
        self._note_call(_ENTERED, entered_ns)

    def wait(self, awaited: tuple[int, ...], any_of: bool = False) -> None:
        """The call now waits for all of these chips, or for any one of them.

        Called once a wait, not at every look at the clock in it: every call counts as an event.
        """
        mask = self._masks.get(awaited)
        if mask is None:
            if len(self._masks) >= MOST_MASKS:
                self._masks.clear()
            mask = self._masks[awaited] = mask_of(awaited)
        self._awaited = (any_of, mask)
        self._note_call(_WAITS, self._clock_ns())
        self._note_status(_WAITING, any_of, mask)

    def resume(self) -> None:
        """What was awaited has come, and the call goes on."""
        self._note_status(_RUNNING, False, _NOBODY)

    def _note_call(self, state: int, clock_ns: int) -> None:
        self._stamp = stamp = self._stamp + 1
        head = (self._buffer, self._at, stamp, self._sequence)
        ENTRY.pack_into(*head, clock_ns, *self._call, state, *self._awaited, stamp)

    def _note_status(self, activity: int, any_of: bool, mask: bytes) -> None:
        self._stamp = stamp = self._stamp + 1
        text_id = self._call[3]
        STATUS.pack_into(
            self._buffer, STATUS_AT, stamp, text_id, activity, any_of, mask, self._sequence, stamp
        )

    def _new_text(self, text: str) -> int:
        """Give a new text the next number whose place no entry of the ring needs any more."""
        needed = {text_id % NUM_TEXTS for text_id in (*self._ids_in_ring, self._call[3])}
        text_id = self._next_text_id
        while text_id >= NUM_TEXTS and text_id % NUM_TEXTS in needed:
            text_id += 1
        self._next_text_id = text_id + 1
        place = text_id % NUM_TEXTS
        forgotten = self._text_at[place]
        if forgotten is not None:
            del self._text_ids[forgotten]
        self._text_at[place] = text
        self._text_ids[text] = text_id
        data = text.encode()[:MAX_TEXT_BYTES]
        self._stamp = stamp = self._stamp + 1
        at = TEXTS_AT + place * TEXT_BYTES
        TEXT.pack_into(self._buffer, at, stamp, text_id, len(data), data, stamp)
        return text_id
