"""Chakra execution traces (MLCommons), one file a chip: what simulators of networks replay.

A file is a stream of messages of schema ChakraProtoMsg: metadata, then a node for each op. Nodes of
a chip follow each other: records say in which order ops ran, not which tensor fed which, so each
node depends on the one before it. Chakra counts whole microseconds; the picoseconds are attributes.

Field numbers: mlc-chakra 1.0.0 schema/protobuf/et_def.proto, as the comments name them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...chip.dtype import DType
from ...chip.record import ChipRecords, OpRecord
from ...chip.tensor import tensor_spec
from ...chip.units import PS_PER_US
from .joins import Place, is_message, joins
from .lanes import FIDELITIES
from .protobuf import delimited, message, number, packed, text

COMP_NODE, COMM_SEND_NODE, COMM_RECV_NODE, COMM_COLL_NODE = 4, 5, 6, 7  # NodeType
MESSAGES = {"send": COMM_SEND_NODE, "recv": COMM_RECV_NODE}
COLLECTIVES = {
    "all_reduce": 0, "reduce": 1, "all_gather": 2, "gather": 3, "scatter": 4, "broadcast": 5,
    "all_to_all": 6, "reduce_scatter": 7, "barrier": 9,
}  # fmt: skip
"""CollectiveCommType by our names."""
VERSION = "0.0.4"  # of the schema, as Chakra's own examples of this layout say it
GROUPS = "comm_group.json"

Groups = Mapping[tuple[int, ...], str]


def write_chakra(folder: str | Path, chips: Sequence[ChipRecords]) -> None:
    """Write `meshtwin.RANK.et` for each chip, and the groups of chips by name: `comm_group.json`.

    The folder is made if there is none.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    groups, tags = _groups(chips), _tags(chips)
    named = {name: list(group) for group, name in groups.items()}
    (folder / GROUPS).write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
    for chip in chips:
        with (folder / f"meshtwin.{chip.rank}.et").open("wb") as file:
            file.write(delimited(_metadata(chip)))
            file.writelines(delimited(node) for node in _nodes(chip, groups, tags))


def _groups(chips: Sequence[ChipRecords]) -> Groups:
    """The groups of the collectives, numbered from the largest to the smallest."""
    found = {
        record.group
        for chip in chips
        for record in chip.records
        if record.group and not is_message(record)
    }
    ordered = sorted(found, key=lambda group: (-len(group), group))
    return {group: str(place) for place, group in enumerate(ordered)}


def _metadata(chip: ChipRecords) -> bytes:
    """GlobalMetadata: version, attr."""
    facts = [
        _string("product", chip.product),
        _string("time", "simulated"),
        _uint64("rank", chip.rank),
        _uint64("num_dropped", chip.num_dropped),
    ]
    return text(1, VERSION) + b"".join(message(2, fact) for fact in facts)


def _tags(chips: Sequence[ChipRecords]) -> Mapping[Place, int]:
    """A number for each message, the same at both ends; one whose other end is unknown has none."""
    messages = [join for join in joins(chips) if join.is_message]
    return {place: tag for tag, join in enumerate(messages, start=1) for place in join.places}


def _nodes(chip: ChipRecords, groups: Groups, tags: Mapping[Place, int]) -> Iterator[bytes]:
    for identity, record in enumerate(chip.records, start=1):
        tag = tags.get(Place(chip.rank, identity - 1), 0)
        before = packed(4, [identity - 1]) + packed(5, [identity - 1])  # ctrl_deps, data_deps
        start_us, end_us = record.sim_start_ps // PS_PER_US, record.sim_end_ps // PS_PER_US
        split = len(record.input_shapes)
        yield b"".join(
            [
                number(1, identity),
                text(2, record.name),
                number(3, _kind(record)),
                b"" if identity == 1 else before,
                number(6, start_us),  # start_time_micros
                number(7, end_us - start_us),  # duration_micros: together they end where we do
                message(8, _tensors(record.input_shapes, record.dtypes[:split])),
                message(9, _tensors(record.output_shapes, record.dtypes[split:])),
                *[message(10, attribute) for attribute in _attributes(record, groups, tag)],
            ]
        )


def _kind(record: OpRecord) -> int:
    if record.name in COLLECTIVES:
        return COMM_COLL_NODE
    return MESSAGES.get(record.name, COMP_NODE)


def _tensors(shapes: tuple[tuple[int, ...], ...], dtypes: tuple[str, ...]) -> bytes:
    """IOInfo: values, shapes, types; lists in JSON, as in the traces of PyTorch."""
    kinds = [f"Tensor({label})" for label in dtypes[: len(shapes)]]
    return text(1, "[]") + text(2, json.dumps(shapes)) + text(3, json.dumps(kinds))


def _attributes(record: OpRecord, groups: Groups, tag: int) -> Iterator[bytes]:
    """AttributeProto of a node: those that Chakra's readers know, then ours."""
    yield text(1, "is_cpu_op") + number(27, 0)  # bool_val
    kind = _kind(record)
    if kind == COMP_NODE:
        yield _int64("num_ops", record.flops)
        yield _uint64("tensor_size", record.bytes)
    else:
        yield _int64("comm_size", _input_bytes(record))
        yield _uint64("bytes_sent", record.bytes)
    if kind == COMM_COLL_NODE:
        yield _int64("comm_type", COLLECTIVES[record.name])
        yield _string("pg_name", groups[record.group])
    elif kind != COMP_NODE:
        src, dst = record.group
        for name, value in (("comm_src", src), ("comm_dst", dst), ("comm_tag", tag)):
            yield text(1, name) + number(7, value)  # int32_val
    yield _string("bound", record.bound)
    if record.fidelity_phases:
        yield _string("fidelity", FIDELITIES[record.fidelity_phases])
    yield _uint64("sim_start_ps", record.sim_start_ps)
    yield _uint64("sim_duration_ps", record.sim_duration_ps)


def _input_bytes(record: OpRecord) -> int:
    """What this chip brings to the call, or what the message holds."""
    return tensor_spec(record.input_shapes[0], DType.parse(record.dtypes[0])).nbytes


def _int64(name: str, value: int) -> bytes:
    return text(1, name) + number(9, value)


def _uint64(name: str, value: int) -> bytes:
    return text(1, name) + number(13, value)


def _string(name: str, value: str) -> bytes:
    return text(1, name) + text(29, value)
