"""The Perfetto trace: read strictly, and by Perfetto's own schema, it says what the records say."""

from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given

from meshtwin.deploy.reports.lanes import LANES
from meshtwin.deploy.reports.perfetto import write_perfetto

from . import wire
from .runs import Run, few, runs, sample


class Slice(NamedTuple):
    """A slice of a trace, with the chip and the lane that it is on."""

    chip: str
    lane: str
    name: str
    start_ns: int
    end_ns: int
    details: dict[str, str | int]
    flow: int | bytes | None


def read(content: bytes) -> list[Slice]:
    """The slices of a trace, in order of their end; every packet must be understood."""
    chips: dict[int, str] = {}
    lanes: dict[int, tuple[str, str]] = {}
    open_slices: dict[int, list[tuple[int, wire.Fields]]] = defaultdict(list)
    found = []
    whole = wire.fields(content)
    assert set(whole) <= {1}
    for packet in wire.parts(whole, 1):
        assert wire.one(packet, 10) == 1
        if 60 in packet:
            _track(wire.parts(packet, 60)[0], chips, lanes)
            continue
        (event,), at_ns = wire.parts(packet, 11), wire.one(packet, 8)
        begun = open_slices[wire.one(event, 11)]
        if wire.one(event, 9) == 1:
            begun.append((at_ns, event))
            continue
        start_ns, beginning = begun.pop()
        assert not begun, "slices of a lane do not overlap"
        assert set(event) == {9, 11}
        (flow,) = beginning.get(47, [None])
        notes = {
            wire.text(note, 10): wire.one(note, 4) if 4 in note else wire.text(note, 6)
            for note in wire.parts(beginning, 4)
        }
        place = lanes[wire.one(event, 11)]
        name = wire.text(beginning, 23)
        found.append(Slice(*place, name, start_ns, at_ns, notes, flow))
    assert not any(open_slices.values())
    return found


def _track(track: wire.Fields, chips: dict[int, str], lanes: dict[int, tuple[str, str]]) -> None:
    uuid, name = wire.one(track, 1), wire.text(track, 2)
    assert uuid > 0 and uuid not in chips and uuid not in lanes
    if 5 in track:
        lanes[uuid] = (chips[wire.one(track, 5)], name)
        assert wire.one(track, 12) == list(LANES.values()).index(name)
    else:
        chips[uuid] = name
        assert wire.one(track, 11) == 3  # EXPLICIT: its lanes in the order of their fields 12


def written(folder: Path, run: Run) -> bytes:
    path = folder / "run.perfetto-trace"
    write_perfetto(path, run.chips)
    return path.read_bytes()


@few
@given(run=runs())
def test_slices_are_the_records(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    slices = read(written(tmp_path_factory.mktemp("trace"), run))
    for rank, records in enumerate(run.records):
        own = [s for s in slices if s.chip == f"chip {rank} (p300c), simulated time"]
        assert [s.name for s in own] == [record.name for record in records]
        assert [s.lane for s in own] == [LANES[record.bound] for record in records]
        assert [s.start_ns for s in own] == [record.sim_start_ps // 1000 for record in records]
        assert [s.end_ns for s in own] == [record.sim_end_ps // 1000 for record in records]
        for name in ("sim_start_ps", "sim_duration_ps", "bytes", "flops", "bound"):
            assert [s.details[name] for s in own] == [getattr(r, name) for r in records]
    assert len(slices) == sum(map(len, run.records))


@few
@given(run=runs())
def test_each_join_is_a_flow_of_its_own(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    slices = read(written(tmp_path_factory.mktemp("trace"), run))
    flows: dict[int | bytes, set[str]] = defaultdict(set)
    for s in slices:
        if s.flow is not None:
            assert s.chip not in flows[s.flow]
            flows[s.flow].add(s.chip)
    assert len(flows) == run.num_joins
    assert all(len(chips) > 1 for chips in flows.values())


def test_names_of_chips_stand_in_the_order_of_their_ranks(tmp_path: Path) -> None:
    run = Run(12)
    for rank in range(12):
        run.alone(rank, "add", 1000, "dram")
    names = [s.chip for s in read(written(tmp_path, run))]
    assert names == sorted(names)
    assert (names[0], names[11]) == tuple(
        f"chip {rank} (p300c), simulated time" for rank in ("00", "11")
    )


def test_a_slice_tells_shapes_formats_and_chips(tmp_path: Path) -> None:
    first, *_ = read(written(tmp_path, sample()))
    assert first.details == {
        "inputs": "[1, 40, 64] bfloat16; [96, 64] bfloat16",
        "outputs": "[1, 40, 96] bfloat16",
        "bytes": 900, "flops": 70, "bound": "compute", "cores": 8, "fidelity": "HiFi2",
        "sim_start_ps": 0, "sim_duration_ps": 2_401_111,
    }  # fmt: skip
    sums = [s for s in read(written(tmp_path, sample())) if s.name == "all_reduce"]
    assert [s.details["chips"] for s in sums] == ["0, 1", "0, 1"]


@pytest.mark.slow
def test_perfetto_s_own_schema_reads_the_same(tmp_path: Path) -> None:
    schema: Any = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    run = sample()
    trace = schema.Trace.FromString(written(tmp_path, run))
    tracks = {
        packet.track_descriptor.uuid: packet.track_descriptor
        for packet in trace.packet
        if packet.HasField("track_descriptor")
    }
    sums: dict[str, int] = defaultdict(int)
    flows: dict[int, list[str]] = defaultdict(list)
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        assert packet.SerializeToString() and not _unknown(packet)
        event = packet.track_event
        for flow in event.flow_ids:
            flows[flow].append(event.name)
        if event.type == schema.TrackEvent.TYPE_SLICE_BEGIN:
            notes = {note.name: note.int_value for note in event.debug_annotations}
            sums[tracks[tracks[event.track_uuid].parent_uuid].name] += notes["sim_duration_ps"]
    assert sums == {
        f"chip {rank} (p300c), simulated time": sum(record.sim_duration_ps for record in records)
        for rank, records in enumerate(run.records)
    }
    assert sorted(flows.values()) == [["all_reduce", "all_reduce"], ["send", "recv"]]


def _unknown(message: Any) -> bool:
    """Whether a message holds fields that its schema does not know."""
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return True
    return any(
        _unknown(part)
        for field, value in message.ListFields()
        if field.type == field.TYPE_MESSAGE
        for part in (value if hasattr(value, "__len__") else [value])
    )
