"""The flight recorder against a plain list, and read by another process while it is written."""

import itertools
import mmap
import multiprocessing
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.fabric.flight_layout import (
    ENTRIES_AT,
    ENTRY_BYTES,
    FLIGHT_BYTES,
    NUM_ENTRIES,
    NUM_TEXTS,
    CallState,
)
from meshtwin.fabric.flight_reader import (
    UNREADABLE,
    FlightEntry,
    read_chip,
    read_flight,
    read_status,
)
from meshtwin.fabric.flight_recorder import FlightRecorder
from meshtwin.fabric.waits import Activity, ChipStatus, verdict

WALL_BASE_NS = 1_000_000
STOP_AT = FLIGHT_BYTES
NUM_LOOKS = 300


def recorder(chip: int = 0) -> tuple[FlightRecorder, memoryview]:
    """A recorder whose clock ticks once a look, and its memory."""
    buffer = memoryview(bytearray(FLIGHT_BYTES))
    return FlightRecorder(buffer, itertools.count().__next__, WALL_BASE_NS, chip), buffer


CALLS = st.tuples(
    st.integers(0, 3 * NUM_TEXTS).map("call {}".format),
    st.integers(-1, 2**40),
    st.integers(0, 2**62),
    st.lists(st.tuples(st.frozensets(st.integers(0, 1023), max_size=5), st.booleans()), max_size=2),
)


@given(st.lists(CALLS, max_size=3 * NUM_ENTRIES))
def test_the_ring_holds_the_last_calls_as_they_were_made(
    calls: list[tuple[str, int, int, list[tuple[frozenset[int], bool]]]],
) -> None:
    written, buffer = recorder()
    clock, expected = itertools.count(), []
    for sequence, (text, number, sim_start_ps, waits) in enumerate(calls, start=1):
        written.enter(text, number, sim_start_ps)
        entered = changed = next(clock)
        state, awaited, any_of = CallState.ENTERED, frozenset[int](), False
        for awaited, any_of in waits:
            written.wait(tuple(awaited), any_of)
            state, changed = CallState.WAITING, next(clock)
        times = (WALL_BASE_NS + entered, WALL_BASE_NS + changed)
        chips = tuple(sorted(awaited))
        expected.append(
            FlightEntry(sequence, text, number, state, chips, any_of, sim_start_ps, *times)
        )
    assert read_flight(buffer) == expected[-NUM_ENTRIES:]


def test_a_chip_says_for_whom_it_waits_and_that_it_goes_on() -> None:
    written, buffer = recorder()
    assert read_status(buffer).activity is Activity.IDLE
    written.set_activity(Activity.RUNNING)
    written.enter("recv at a.py:3")
    written.wait((2, 1), any_of=True)
    status = read_status(buffer)
    assert (status.activity, status.awaited) == (Activity.WAITING, (1, 2))
    assert (status.what, status.any_of) == ("recv at a.py:3", True)
    assert read_status(buffer) == status
    written.resume()
    assert read_status(buffer).activity is Activity.RUNNING
    written.wait((2, 1), any_of=True)
    assert read_status(buffer).since > status.since
    written.set_activity(Activity.ENDED)
    assert read_status(buffer).activity is Activity.ENDED


def test_two_recorders_prove_a_standstill() -> None:
    ends = [recorder(chip) for chip in range(2)]
    for chip, (written, _) in enumerate(ends):
        written.enter(f"recv at a.py:{chip}")
        written.wait((1 - chip,))
    statuses = {read_chip(buffer) or 0: read_status(buffer) for _, buffer in ends}
    assert verdict(statuses) == (
        ((0, (1,), "recv at a.py:0"), (1, (0,), "recv at a.py:1")),
        "a cycle of waits: chip 0 -> 1 -> 0",
    )


def test_every_call_in_the_ring_keeps_its_text_when_the_table_overflows() -> None:
    written, buffer = recorder()
    for number in range(5 * NUM_TEXTS):
        written.enter("an old friend")
        written.enter(f"step {number}")
        texts = [entry.text for entry in read_flight(buffer)]
        oldest = max(0, number + 1 - NUM_ENTRIES // 2)
        assert texts[1::2] == [f"step {n}" for n in range(oldest, number + 1)]
        assert set(texts[::2]) == {"an old friend"}


def test_a_long_text_is_cut() -> None:
    written, buffer = recorder()
    written.enter("é" * 1000)
    text = read_flight(buffer)[-1].text
    assert 100 < len(text) < 256 and set(text) == {"é"}


def test_memory_that_nobody_has_written_is_empty() -> None:
    buffer = memoryview(bytearray(FLIGHT_BYTES))
    assert read_flight(buffer) == []
    assert read_status(buffer) == ChipStatus(Activity.IDLE)
    assert read_chip(buffer) is None


def test_a_record_left_half_written_is_left_out() -> None:
    written, buffer = recorder()
    written.enter("first")
    written.enter("second")
    buffer[ENTRIES_AT + ENTRY_BYTES] ^= 0xFF  # the first stamp of the second call
    assert [entry.text for entry in read_flight(buffer)] == ["first"]


def test_a_buffer_that_is_too_small_is_refused() -> None:
    small = memoryview(bytearray(100))
    with pytest.raises(ValueError, match="bytes"):
        FlightRecorder(small, time.monotonic_ns, 0)
    with pytest.raises(ValueError, match="bytes"):
        read_flight(small)


def write_until_told(path: str) -> None:
    """Calls whose fields all follow from the number of the call."""
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        buffer = memoryview(memory)
        written = FlightRecorder(buffer[:FLIGHT_BYTES], time.monotonic_ns, 0)
        sequence = 0
        while not buffer[STOP_AT]:
            sequence += 1
            written.enter(f"call {sequence % 300}", sequence, 7 * sequence)
            written.wait((sequence % 61, sequence % 59 + 100))
            written.resume()
        del written
        buffer.release()


def test_another_process_reads_whole_records_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "flight"
    path.write_bytes(bytes(FLIGHT_BYTES + 8))
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=write_until_told, args=(str(path),))
    process.start()
    with (
        path.open("r+b") as file,
        mmap.mmap(file.fileno(), 0) as memory,
        memoryview(memory) as buffer,
    ):
        try:
            highest = look_often(buffer)
        finally:
            buffer[STOP_AT] = 1
    process.join(30)
    assert process.exitcode == 0
    assert highest > NUM_ENTRIES


def look_often(buffer: memoryview) -> int:
    """Check every field of what `write_until_told` writes; the last call seen."""
    deadline = time.monotonic() + 60
    while not read_flight(buffer):
        assert time.monotonic() < deadline
    highest = 0
    for _ in range(NUM_LOOKS):
        entries = read_flight(buffer)
        for entry in entries:
            number = entry.sequence
            assert entry.text in (f"call {number % 300}", UNREADABLE)
            assert (entry.number, entry.sim_start_ps) == (number, 7 * number)
            assert entry.awaited in ((), (number % 61, number % 59 + 100))
            assert entry.wall_changed_ns >= entry.wall_entered_ns
        assert entries[-1].sequence >= highest
        highest = entries[-1].sequence
        status = read_status(buffer)
        assert len(status.awaited) == 2 * (status.activity is Activity.WAITING)
    return highest
