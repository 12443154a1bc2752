"""Perfetto's own trace format: protocol buffers, for ui.perfetto.dev and its trace processor.

A trace is a list of packets. Tracks come first (a process for each chip, a thread for each lane),
then each op begins and ends a slice on its lane. Perfetto counts in nanoseconds: the picoseconds
are among the details of a slice. An arrow ("flow") is a number that slices have in common.

Field numbers: perfetto 0.59 protos/perfetto/trace/perfetto_trace.proto, as the comments name them.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chip.record import ChipRecords, OpRecord
from .joins import joins
from .lanes import LANES, details, lane_ids, process_id, title, whole_ns
from .protobuf import fixed64, message, number, text

SEQUENCE = number(10, 1)  # TracePacket.trusted_packet_sequence_id: all packets are of one writer
SLICE_BEGIN, SLICE_END = 1, 2  # TrackEvent.Type


def write_perfetto(path: str | Path, chips: Sequence[ChipRecords]) -> None:
    """Write the ops of these chips as a Perfetto trace (`.perfetto-trace`).

    Raises:
        OSError: the file cannot be written.
    """
    begin_flows, end_flows = _flows(chips)
    with Path(path).open("wb") as file:
        for chip in chips:
            file.writelines(_tracks(chip))
            file.writelines(_slices(chip, begin_flows, end_flows))


Flows = dict[tuple[int, int], bytes]
"""Fields that tie the beginning, or the end, of a slice to a flow, by rank and number of the op."""


def _flows(chips: Sequence[ChipRecords]) -> tuple[Flows, Flows]:
    """A collective is an arrow from beginning to beginning, up to the chip that came last.

    A message's arrow ends where the recv does: it may have begun before the send.
    """
    begin: Flows = {}
    end: Flows = {}
    for flow, join in enumerate(joins(chips), start=1):
        *others, last = join.places
        for place in others:
            begin[place] = fixed64(47, flow)  # TrackEvent.flow_ids
        (end if join.is_message else begin)[last] = fixed64(48, flow)  # terminating_flow_ids
    return begin, end


def _packet(content: bytes) -> bytes:
    return message(1, content + SEQUENCE)  # Trace.packet


def _tracks(chip: ChipRecords) -> Iterator[bytes]:
    """The process of a chip and the threads of its lanes that hold something."""
    process = process_id(chip.rank)
    descriptor = number(1, process) + text(6, title(chip))  # ProcessDescriptor: pid, process_name
    yield _packet(message(60, number(1, process) + message(3, descriptor)))
    used = {record.bound for record in chip.records}
    for bound, lane in lane_ids(chip.rank).items():
        if bound in used:
            # ThreadDescriptor: pid, tid, thread_name
            descriptor = number(1, process) + number(2, lane) + text(5, LANES[bound])
            track = number(1, _uuid(lane)) + number(5, process) + message(4, descriptor)
            yield _packet(message(60, track))


def _uuid(lane: int) -> int:
    """A lane's track; a process has its own number as its track."""
    return lane << 32


def _slices(chip: ChipRecords, begin_flows: Flows, end_flows: Flows) -> Iterator[bytes]:
    lanes = {bound: number(11, _uuid(lane)) for bound, lane in lane_ids(chip.rank).items()}
    known: dict[OpRecord, bytes] = {}  # most ops run often
    for index, record in enumerate(chip.records):
        facts = record._replace(sim_start_ps=0)
        same = known.get(facts)
        if same is None:
            same = known[facts] = _facts(facts, lanes[record.bound])
        place = (chip.rank, index)
        start = _annotation("sim_start_ps", record.sim_start_ps)
        event = number(9, SLICE_BEGIN) + same + start + begin_flows.get(place, b"")
        yield _packet(number(8, whole_ns(record.sim_start_ps)) + message(11, event))
        event = number(9, SLICE_END) + lanes[record.bound] + end_flows.get(place, b"")
        yield _packet(number(8, whole_ns(record.sim_end_ps)) + message(11, event))


def _facts(record: OpRecord, lane: bytes) -> bytes:
    """Track, category, name and details of an op's slice (TrackEvent)."""
    notes = b"".join(_annotation(name, value) for name, value in details(record).items())
    return lane + text(22, record.bound) + text(23, record.name) + notes


def _annotation(name: str, value: str | int) -> bytes:
    """A detail of a slice (DebugAnnotation: name, then string_value or int_value)."""
    content = text(6, value) if isinstance(value, str) else number(4, value)
    return message(4, text(10, name) + content)
