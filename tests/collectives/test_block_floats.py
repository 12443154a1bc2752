"""Block floats in collectives: what moves as it is, what is added and packed again, and wires."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.formats.tile import to_bytes
from meshtwin.chip.tensor import decode, encode
from meshtwin.collectives.algorithm import algorithms
from meshtwin.collectives.call import Call, Rounding
from meshtwin.collectives.choose import plan_of
from meshtwin.collectives.errors import (
    AlgorithmError,
    BlockError,
    CollectiveError,
    CollectiveMismatch,
)
from meshtwin.collectives.faulty import without_links
from meshtwin.collectives.group import group_of
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.reduce_op import REDUCIBLE_BLOCKS, ReduceOp
from meshtwin.collectives.request import WIRES
from meshtwin.fabric.fault_events import LinkCut, LinkFlaky
from meshtwin.fabric.faults import FaultPlan
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip

from ..spmd import endings, run_spmd
from . import paper
from .oracle import expected

TRANSPORTS = ("shared_memory", "zeromq", "routed")
BLOCK_FLOATS = [dtype for dtype in DType if dtype.block]
NAMES = [operation.label for operation in Operation if operation is not Operation.BARRIER]
MOVES = [name for name in NAMES if not Operation(name).reduces]
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def normal(shape: tuple[int, ...], count: int, seed: int, spread: int = 0) -> list[np.ndarray]:
    """One array a chip; exponents differ by up to 2 * spread more than normal numbers do."""
    dice = np.random.default_rng(seed)
    return [
        np.asarray(
            dice.standard_normal(shape) * 2.0 ** dice.integers(-spread, spread + 1, shape),
            np.float32,
        )
        for _ in range(count)
    ]


def arguments(name: str, op: str, dim: int, concat_dim: int, root: int) -> dict[str, Any]:
    """The arguments that a collective takes, of those drawn."""
    operation, found = Operation(name), dict[str, Any]()
    if operation.reduces:
        found["op"] = op
    if operation.cuts or operation.joins:
        found["dim"] = dim
    if operation is Operation.ALL_TO_ALL:
        found["concat_dim"] = concat_dim
    if operation.has_root:
        found["root"] = root
    return found


def storages(
    box: str, name: str, given_in: list[np.ndarray], dtype: DType, transport: str, **kwargs: Any
) -> list[tuple[bytes | None, int, int]]:
    """Each chip's result as bytes, its simulated time, and the bytes that it sent."""

    def program(chip: MeshChip, values: np.ndarray) -> tuple[bytes | None, int, int]:
        result = getattr(chip, name)(chip.tensor(values, dtype), **kwargs)
        found = None if result is None else result.storage.tobytes()
        return found, chip.clock.now_ps, chip.recorder.records()[-1].bytes

    return run_spmd(box, program, lambda rank: (given_in[rank],), transport)


@pytest.mark.parametrize("dtype", BLOCK_FLOATS, ids=str)
@few
@given(data=st.data())
def test_blocks_move_along_every_dim_and_keep_their_bits(dtype: DType, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(MOVES))
    last = 16 * data.draw(st.sampled_from([0, 4, 8]))
    shape = (*data.draw(st.lists(st.integers(0, 5), max_size=2)), last)
    dim, joint = (data.draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    root = data.draw(st.integers(0, 3))
    given_in = [
        decode(encode(own, dtype), dtype, shape).astype(np.float32)
        for own in normal(shape, 4, data.draw(st.integers(0, 9)))
    ]
    kwargs = arguments(name, "sum", dim, joint, root)
    wanted = expected(name, given_in, **kwargs)
    transport = data.draw(st.sampled_from(TRANSPORTS))
    for want, (found, _, _) in zip(
        wanted, storages("quietbox2", name, given_in, dtype, transport, **kwargs), strict=True
    ):
        assert found == (None if want is None else encode(want, dtype).tobytes())


@pytest.mark.parametrize("dtype", REDUCIBLE_BLOCKS, ids=str)
@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("rows", [64, 512])  # through slots, and from heap to heap
def test_what_is_joined_has_the_very_tiles_of_its_parts(dtype: DType, dim: int, rows: int) -> None:
    given_in = normal((rows, 96), 4, 1)

    def program(chip: MeshChip, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = chip.tensor(values, dtype)
        whole = chip.all_gather(x, dim=dim)
        assert x.storage is not None and whole.storage is not None
        return to_bytes(x.storage, dtype, x.shape), to_bytes(whole.storage, dtype, whole.shape)

    answers = run_spmd("quietbox2", program, lambda rank: (given_in[rank],))
    tile = 1088 if dtype is DType.BFP8_B else 576
    own = [tiles.reshape(rows // 32, 3, tile) for tiles, _ in answers]
    for _, joined in answers:
        assert joined.tobytes() == np.concatenate(own, axis=dim).tobytes()


@pytest.mark.parametrize("name", NAMES)
@few
@given(data=st.data())
def test_bits_are_those_of_the_schedule_on_paper(name: str, data: st.DataObject) -> None:
    box = load_box(data.draw(st.sampled_from(["p300", "quietbox2", "loudbox"])))
    axis = data.draw(st.sampled_from([None, "row", "col"]))
    group = group_of(box, 0, {None: None, "row": 0, "col": 1}[axis])
    n, operation = len(group.ranks), Operation(name)
    if n == 1:
        return
    dtype, wire = data.draw(
        st.sampled_from([(a, b) for a in WIRES for b in WIRES if a.block or b.block])
    )
    last = data.draw(st.sampled_from([1, 7, 16, 40, 256]))
    shape = (*data.draw(st.lists(st.integers(0, 5), max_size=2)), last)
    dim, joint = (data.draw(st.integers(0, len(shape) - 1)) for _ in range(2))
    if dtype.block:
        shape = (*shape[:-1], 16 * n * data.draw(st.integers(0, 3)))
    root = data.draw(st.integers(0, n - 1))
    op = data.draw(st.sampled_from(["sum", "mean", "min", "max", "prod"]))
    rounding = data.draw(st.sampled_from(["hop", "hop", "none"]))
    fit = [a.name for a in algorithms().values() if operation in a.operations]
    chosen = data.draw(st.sampled_from(fit))
    transport = data.draw(st.sampled_from(TRANSPORTS))
    arrays = [
        decode(encode(own, dtype), dtype, shape)
        for own in normal(shape, box.num_chips, data.draw(st.integers(0, 9)), spread=6)
    ]
    call = Call(
        operation, shape, dtype, group.ranks, group.where,
        dim=dim if operation.cuts or operation.joins else 0,
        concat_dim=joint if operation is Operation.ALL_TO_ALL else 0,
        root=group.ranks[root] if operation.has_root else 0,
        op=ReduceOp(op) if operation.reduces else ReduceOp.SUM,
        wire=None if wire is dtype else wire, rounding=Rounding(rounding),
    )  # fmt: skip
    try:
        plans = [plan_of(box, rank, call, chosen) for rank in group.ranks]
    except AlgorithmError:
        return
    wanted = paper.results(plans, [arrays[rank] for rank in group.ranks])

    def program(chip: MeshChip, values: np.ndarray) -> tuple[bytes | None, int]:
        own = group_of(box, chip.rank, group_axis).ranks
        kwargs = arguments(name, op, dim, joint, own[root])
        result = getattr(chip, name)(
            chip.tensor(values, dtype), axis=axis, algorithm=chosen, wire_dtype=wire,
            rounding=rounding, **kwargs,
        )  # fmt: skip
        if result is None:
            return None, chip.recorder.records()[-1].bytes
        assert result.storage is not None
        return result.storage.tobytes(), chip.recorder.records()[-1].bytes

    group_axis = {None: None, "row": 0, "col": 1}[axis]
    answers = run_spmd(box, program, lambda rank: (arrays[rank],), transport)
    for plan, want in zip(plans, wanted, strict=True):
        found, num_bytes = answers[plan.rank]
        assert num_bytes == plan.bytes_sent
        if want is None:
            assert found is None
        else:
            assert found == encode(want, dtype).tobytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "wire"), [(DType.BFP8_B, None), (DType.BFLOAT16, "bfp8_b")])
def test_large_tensors_have_the_bits_of_messages(name: str, dtype: DType, wire: str | None) -> None:
    given_in = normal((260, 128), 4, 3)
    kwargs = arguments(name, "sum", 0, 1, 1) | {"wire_dtype": wire}
    shared, messages = (
        storages("quietbox2", name, given_in, dtype, transport, **kwargs)
        for transport in ("shared_memory", "routed")
    )
    assert shared == messages


@few
@given(data=st.data())
def test_any_bits_come_out_alike_on_every_transport(data: st.DataObject) -> None:
    """Infinities, NaNs and denormals too, however often a copy is sent on."""
    dtype = data.draw(st.sampled_from([DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16]))
    wire = data.draw(st.sampled_from(REDUCIBLE_BLOCKS))
    name = data.draw(st.sampled_from(["broadcast", "all_gather", "all_reduce", "reduce_scatter"]))
    chosen = data.draw(st.sampled_from(["line", "ring", "direct"]))
    dice = np.random.default_rng(data.draw(st.integers(0, 99)))
    bits = dice.integers(0, 256, (4, 8, 64 * dtype.itemsize), np.uint8)
    bits[:, :, data.draw(st.integers(1, 9)) :: 11] = 0  # small exponents, and signalling NaNs
    words = bits.view(dtype.numpy)
    op = data.draw(st.sampled_from(["sum", "max"]))
    kwargs = arguments(name, op, 0, 0, 1)

    def program(chip: MeshChip, own: np.ndarray) -> bytes:
        x = chip.adopt(chip.tensor(np.zeros(own.shape), dtype).spec, own.copy(), "x")
        result = getattr(chip, name)(x, wire_dtype=wire, algorithm=chosen, **kwargs)
        return bytes(result.storage.tobytes())

    try:
        answers = [
            run_spmd("quietbox2", program, lambda rank: (words[rank],), transport)
            for transport in ("shared_memory", "routed")
        ]
    except AlgorithmError:
        return
    assert answers[0] == answers[1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("dtype", "wire"),
    [(DType.BFP8_B, None), (DType.BFLOAT16, "bfp8_b"), (DType.FLOAT32, "bfp4_b")],
    ids=str,
)
def test_simulated_times_and_bytes_do_not_depend_on_the_transport(
    name: str, dtype: DType, wire: str | None
) -> None:
    given_in = normal((16, 72 if wire else 64), 4, 2)
    kwargs = arguments(name, "sum", 0, 0, 1)
    first, *others = (
        storages("quietbox2", name, given_in, dtype, transport, wire_dtype=wire, **kwargs)
        for transport in TRANSPORTS
    )
    assert others == [first, first]


@pytest.mark.parametrize(
    ("wire", "tile_bytes"), [(None, 2048), ("bfp8_b", 1088), ("bfp4_b", 576), ("float32", 4096)]
)
def test_a_tile_on_the_wire_is_as_large_as_in_memory(wire: str | None, tile_bytes: int) -> None:
    call = Call(
        Operation.ALL_GATHER, (64, 64), DType.BFLOAT16, (0, 1, 2, 3), dim=0,
        wire=None if wire is None else DType.parse(wire),
    )  # fmt: skip
    plan = plan_of(load_box("quietbox2"), 0, call, "direct")
    assert plan.bytes_sent == 3 * 4 * tile_bytes
    ring = plan_of(load_box("quietbox2"), 0, call, "ring")
    assert set(ring.chunk_bytes) == {4 * tile_bytes}


def test_half_the_bytes_take_about_half_the_time_where_bandwidth_counts() -> None:
    box = load_box("galaxy")
    times = [
        plan_of(
            box, 0, Call(Operation.ALL_REDUCE, (4096, 8192), DType.BFLOAT16, tuple(range(32)),
                         wire=wire), "ring",
        ).sim_whole_ps
        for wire in (None, DType.BFP8_B)
    ]  # fmt: skip
    assert 0.5 < times[1] / times[0] < 0.56


def test_an_all_reduce_of_block_floats_packs_again_at_every_addition() -> None:
    given_in = [np.full((1, 16), value, np.float32) for value in (1.0, 0.01, 0.01, 0.01)]
    given_in[0][0, 0] = 127.0  # one exponent for the row: 0.01 is nothing beside it
    for found, *_ in storages("quietbox2", "all_reduce", given_in, DType.BFP8_B, "shared_memory"):
        assert found is not None
        sums = decode(np.frombuffer(found, np.uint8).reshape(1, 17), DType.BFP8_B)
        assert sums.tolist() == [[127.0] + [1.0] * 15]


@pytest.mark.parametrize("dtype", REDUCIBLE_BLOCKS, ids=str)
def test_a_chip_alone_has_its_own_blocks_back(dtype: DType) -> None:
    given_in = normal((3, 40), 1, 5)
    for name, kwargs in (("all_reduce", {"op": "mean"}), ("all_gather", {"dim": 1})):
        ((found, _, sent),) = storages("p150", name, given_in, dtype, "shared_memory", **kwargs)
        assert (found, sent) == (encode(given_in[0], dtype).tobytes(), 0)


@pytest.mark.parametrize("dtype", BLOCK_FLOATS, ids=str)
def test_blocks_are_cut_and_joined_between_exponents_only(dtype: DType) -> None:
    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones((4, 40)), dtype)
        calls: list[tuple[Callable[[], object], str]] = [
            (
                lambda: chip.all_gather(x, dim=-1),
                "40 must be a multiple of 16.* nearest: 32 and 48",
            ),
            (lambda: chip.scatter(x, dim=1), "multiple of 32, .* nearest: 32 and 64; or use ano"),
            (lambda: chip.all_to_all(x, dim=0, concat_dim=1), "all_to_all .* a multiple of 16"),
            (lambda: chip.all_gather(x, dim=-1, sizes=(40, 40)), "its size 40 must be"),
        ]
        for call, text in calls:
            with pytest.raises(BlockError, match=text):
                call()
        assert chip.broadcast(chip.tensor(1.0, dtype)).to_numpy().tolist() == 1.0

    run_spmd("p300", program)


@pytest.mark.parametrize(
    ("dtype", "wire", "text"),
    [
        (DType.BFLOAT16, "bfp8_a", r"\(float32, .* bfp8_b, bfp4_b\); the nearest is bfp8_b"),
        (DType.BFLOAT16, "fp8_e4m3", "the nearest is bfp8_b"),
        (DType.FLOAT32, "bfp2_b", "the nearest is bfp4_b"),
        (DType.FLOAT32, "tf32", "the nearest is float32"),
        (DType.BFLOAT16, "int8", "the nearest is bfloat16"),
        (DType.INT32, "bfp8_b", "leave wire_dtype out"),
        (DType.BFP2_B, "bfp8_b", "typecast to bfp4_b first"),
    ],
)
def test_wires_that_are_none_are_refused_with_the_nearest(
    dtype: DType, wire: str, text: str
) -> None:
    def program(chip: MeshChip) -> None:
        with pytest.raises(CollectiveError, match=text):
            chip.broadcast(chip.tensor(np.ones(16, np.int32), dtype), wire_dtype=wire)

    run_spmd("p300", program)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_calls_that_differ_only_in_the_wire_are_a_mismatch(transport: str) -> None:
    """Also where one chip would take shared memory and another messages."""

    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones((4, 40), np.float32), "bfp8_b")
        chip.all_reduce(x)
        if chip.rank == 2:
            chip.all_reduce(chip.tensor(np.ones((4, 40), np.float32)))
        else:
            chip.all_reduce(x)

    ends = endings("quietbox2", program, transport=transport)
    assert [type(end) for end in ends] == [CollectiveMismatch] * 4
    assert "all_reduce(shape (4, 40), bfp8_b, op sum)" in str(ends[0])


@pytest.mark.parametrize(
    "plan",
    [
        FaultPlan((LinkFlaky((0, 1), drop=0.3), LinkFlaky((0, 2), corrupt=0.3)), seed=3),
        FaultPlan((LinkCut((0, 1), 0),), policy="reroute"),
    ],
    ids=["flaky", "cut"],
)
@pytest.mark.parametrize(("dtype", "wire"), [("bfp8_b", None), ("bf16", "bfp8_b")])
def test_faults_of_links_leave_the_bits_alone(
    dtype: str, wire: str | None, plan: FaultPlan
) -> None:
    given_in = normal((32, 256), 4, 7)

    def program(chip: MeshChip, values: np.ndarray) -> bytes:
        x = chip.tensor(values, DType.parse(dtype))
        result = chip.all_reduce(x, wire_dtype=wire, algorithm="line")
        assert result.storage is not None
        return result.storage.tobytes()

    box = without_links(load_box("quietbox2"), ((0, 1),) if plan.policy == "reroute" else ())
    calm = run_spmd(box, program, lambda rank: (given_in[rank],))
    shaken = run_spmd("quietbox2", program, lambda rank: (given_in[rank],), "routed", faults=plan)
    assert shaken == calm
