"""Perfetto's own trace format: protocol buffers, for ui.perfetto.dev and its trace processor.

A trace is a list of packets. Tracks come first (one for each chip, in it one for each lane), then
each op begins and ends a slice on its lane. Perfetto counts in nanoseconds: the picoseconds are
among the details of a slice. An arrow ("flow") is a number that slices have in common; Perfetto
draws it from the slice that began first to the one that began last.

Field numbers: perfetto 0.59 protos/perfetto/trace/perfetto_trace.proto, as the comments name them.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...chip.record import Bound, ChipRecords, OpRecord
from .joins import Place, joins
from .lanes import LANES, details, title, whole_ns
from .protobuf import fixed64, message, number, text

SEQUENCE = number(10, 1)  # TracePacket.trusted_packet_sequence_id: all packets are of one writer
SLICE_BEGIN, SLICE_END = 1, 2  # TrackEvent.Type
EXPLICIT = 3  # TrackDescriptor.ChildTracksOrdering: by sibling_order_rank


def write_perfetto(path: str | Path, chips: Sequence[ChipRecords]) -> None:
    """Write the ops of these chips as a Perfetto trace (`.perfetto-trace`).

    Raises:
        OSError: the file cannot be written.
    """
    flows = {
        place: fixed64(47, flow)  # TrackEvent.flow_ids
        for flow, join in enumerate(joins(chips), start=1)
        for place in join.places
    }
    with Path(path).open("wb") as file:
        for chip in chips:
            file.writelines(_tracks(chip, title(chip, chips)))
            file.writelines(_slices(chip, flows))


def _packet(content: bytes) -> bytes:
    return message(1, content + SEQUENCE)  # Trace.packet


def _tracks(chip: ChipRecords, name: str) -> Iterator[bytes]:
    """The track of a chip, and in it those of its lanes that hold something."""
    # TrackDescriptor: uuid, name, parent_uuid, child_ordering, sibling_order_rank
    parent = _uuid(chip.rank)
    yield _packet(message(60, number(1, parent) + text(2, name) + number(11, EXPLICIT)))
    used = {record.bound for record in chip.records}
    for place, (bound, uuid) in enumerate(_lanes(chip.rank).items()):
        if bound in used:
            track = number(1, uuid) + text(2, LANES[bound]) + number(5, parent) + number(12, place)
            yield _packet(message(60, track))


def _uuid(rank: int) -> int:
    """A chip's track: not 0, and room for its lanes before the next one's."""
    return (rank + 1) << 8


def _lanes(rank: int) -> dict[Bound, int]:
    """The tracks of a chip's lanes."""
    return {bound: uuid for uuid, bound in enumerate(LANES, start=_uuid(rank) + 1)}


def _slices(chip: ChipRecords, flows: Mapping[Place, bytes]) -> Iterator[bytes]:
    lanes = {bound: number(11, uuid) for bound, uuid in _lanes(chip.rank).items()}
    known: dict[OpRecord, bytes] = {}  # most ops run often
    for index, record in enumerate(chip.records):
        facts = record._replace(sim_start_ps=0)
        same = known.get(facts)
        if same is None:
            same = known[facts] = _facts(facts, lanes[record.bound])
        start = _annotation("sim_start_ps", record.sim_start_ps)
        event = number(9, SLICE_BEGIN) + same + start + flows.get(Place(chip.rank, index), b"")
        yield _packet(number(8, whole_ns(record.sim_start_ps)) + message(11, event))
        event = number(9, SLICE_END) + lanes[record.bound]
        yield _packet(number(8, whole_ns(record.sim_end_ps)) + message(11, event))


def _facts(record: OpRecord, lane: bytes) -> bytes:
    """Track, category, name and details of an op's slice (TrackEvent)."""
    notes = b"".join(_annotation(name, value) for name, value in details(record).items())
    return lane + text(22, record.bound) + text(23, record.name) + notes


def _annotation(name: str, value: str | int) -> bytes:
    """A detail of a slice (DebugAnnotation: name, then string_value or int_value)."""
    content = text(6, value) if isinstance(value, str) else number(4, value)
    return message(4, text(10, name) + content)
