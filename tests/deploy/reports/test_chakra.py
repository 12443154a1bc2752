"""Chakra traces: read strictly, and by Chakra's own reader, they say what the records say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from meshtwin.deploy.reports.chakra import COLLECTIVES, GROUPS, write_chakra

from . import wire
from .runs import Run, few, runs, sample

KINDS = {"send": 5, "recv": 6} | dict.fromkeys(COLLECTIVES, 7)


def attributes(node: wire.Fields) -> dict[str, int | str]:
    """The attributes of a node by name; each has one value, of one of four kinds."""
    found: dict[str, int | str] = {}
    for attribute in wire.parts(node, 10):
        (kind,) = set(attribute) - {1}
        assert kind in (7, 9, 13, 27, 29)
        value = wire.text(attribute, kind) if kind == 29 else wire.one(attribute, kind)
        found[wire.text(attribute, 1)] = value
    return found


def nodes(folder: Path, rank: int) -> list[wire.Fields]:
    head, *rest = wire.stream((folder / f"meshtwin.{rank}.et").read_bytes())
    assert wire.text(wire.fields(head), 1) == "0.0.4"
    return [wire.fields(node) for node in rest]


@few
@given(run=runs())
def test_nodes_are_the_records(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("chakra")
    write_chakra(folder / "new", run.chips)
    groups = json.loads((folder / "new" / GROUPS).read_text(encoding="utf-8"))
    for rank, records in enumerate(run.records):
        found = nodes(folder / "new", rank)
        assert [wire.one(node, 1) for node in found] == list(range(1, len(records) + 1))
        assert [wire.text(node, 2) for node in found] == [record.name for record in records]
        assert [wire.one(node, 3) for node in found] == [KINDS.get(r.name, 4) for r in records]
        assert sum(wire.one(node, 7) for node in found) == run.now_ps(rank) // 10**6
        for node, record in zip(found, records, strict=True):
            told = attributes(node)
            assert told["sim_start_ps"] == record.sim_start_ps
            assert told["sim_duration_ps"] == record.sim_duration_ps
            if record.name in COLLECTIVES:
                assert tuple(groups[told["pg_name"]]) == record.group
                assert told["comm_type"] == COLLECTIVES[record.name]
                assert (told["comm_size"], told["bytes_sent"]) == (32 * 64 * 2, record.bytes)


@few
@given(run=runs())
def test_a_send_and_its_recv_have_one_tag(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("chakra")
    write_chakra(folder, run.chips)
    sent, received = [], []
    for rank in range(run.num_chips):
        for node in nodes(folder, rank):
            told = attributes(node)
            key = told.get("comm_src"), told.get("comm_dst"), told.get("comm_tag")
            if wire.one(node, 3) == 5:
                assert key[0] == rank
                sent.append(key)
            elif wire.one(node, 3) == 6:
                assert key[1] == rank
                received.append(key)
    assert len(set(sent)) == len(sent)
    assert sorted(sent) == sorted(received)


def test_each_node_waits_for_the_one_before_it(tmp_path: Path) -> None:
    write_chakra(tmp_path, sample().chips)
    found = nodes(tmp_path, 0)
    assert [node.get(4) for node in found] == [None, [b"\1"], [b"\2"], [b"\3"]]
    assert [node.get(5) for node in found] == [None, [b"\1"], [b"\2"], [b"\3"]]


def test_a_dropped_history_shifts_no_tag(tmp_path: Path) -> None:
    run = Run(2)
    run.message(0, 1, 5)
    run.message(0, 1, 6)
    whole = run.chips
    write_chakra(tmp_path, [whole[0], replace(whole[1], records=whole[1].records[1:])])
    sent = [attributes(node)["comm_tag"] for node in nodes(tmp_path, 0)]
    assert sent[-1:] == [attributes(node)["comm_tag"] for node in nodes(tmp_path, 1)]


@pytest.mark.slow
def test_chakra_s_own_reader_finds_the_same(tmp_path: Path) -> None:
    schema: Any = pytest.importorskip("chakra.schema.protobuf.et_def_pb2")
    reader: Any = pytest.importorskip("chakra.src.third_party.utils.protolib")
    run = sample()
    write_chakra(tmp_path, run.chips)
    for rank, records in enumerate(run.records):
        with (tmp_path / f"meshtwin.{rank}.et").open("rb") as file:
            head = schema.GlobalMetadata()
            assert reader.decodeMessage(file, head)
            found = []
            while reader.decodeMessage(file, node := schema.Node()):
                found.append(node)
        told = {attribute.name: attribute for attribute in head.attr}
        assert (told["time"].string_val, told["rank"].uint64_val) == ("simulated", rank)
        assert [node.name for node in found] == [record.name for record in records]
        for node, record in zip(found, records, strict=True):
            told = {attribute.name: attribute for attribute in node.attr}
            assert told["sim_duration_ps"].uint64_val == record.sim_duration_ps
            assert not told["is_cpu_op"].bool_val
            assert list(node.ctrl_deps) == ([node.id - 1] if node.id > 1 else [])
            if node.type == schema.COMM_COLL_NODE:
                name = schema.CollectiveCommType.Name(told["comm_type"].int64_val)
                assert name == record.name.upper()
                assert told["pg_name"].string_val == "0"
            else:
                kind = {"send": "COMM_SEND_NODE", "recv": "COMM_RECV_NODE"}
                assert schema.NodeType.Name(node.type) == kind.get(record.name, "COMP_NODE")
