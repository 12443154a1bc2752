"""Every collective on real chips (threads, the real fabric) against numpy, on every transport."""

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import UseAfterFree
from meshtwin.chip.memory.config import (
    Buffer,
    MemoryConfig,
    MemoryLayout,
    ShardSpec,
    core_grid,
)
from meshtwin.chip.tensor import decode, encode
from meshtwin.collectives.algorithm import Algorithm, Layout, Team, algorithm, algorithms
from meshtwin.collectives.call import Call
from meshtwin.collectives.choose import plan_of
from meshtwin.collectives.errors import (
    AlgorithmError,
    ChunkError,
    CollectiveError,
    CollectiveMismatch,
)
from meshtwin.collectives.group import group_of
from meshtwin.collectives.operation import Operation
from meshtwin.collectives.program import evaluate, program_of
from meshtwin.collectives.reduce_op import REDUCIBLE, ReduceOp
from meshtwin.collectives.schedule import Step, StepKind
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip

from ..spmd import endings, run_spmd
from .oracle import expected

BOXES = ("p150", "p300", "quietbox2", "loudbox")
TRANSPORTS = ("shared_memory", "zeromq", "routed")
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
shapes = st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple)
NAMES = [operation.label for operation in Operation if operation is not Operation.BARRIER]


def small_numbers(shape: tuple[int, ...], dtype: DType, seed: int, count: int) -> list[np.ndarray]:
    """One array a chip, whose sums and products of a few are exact in every dtype."""
    rng = np.random.default_rng(seed)
    kind = np.float32 if dtype.is_float else dtype.numpy
    return [rng.integers(0, 4, shape).astype(kind) for _ in range(count)]


def run(
    box: str,
    name: str,
    arrays: list[np.ndarray],
    dtype: DType,
    transport: str = "shared_memory",
    **kwargs: Any,
) -> list[tuple[np.ndarray | None, int]]:
    """Each chip's result and simulated time after the collective."""

    def program(chip: MeshChip, array: np.ndarray) -> tuple[np.ndarray | None, int]:
        result = getattr(chip, name)(chip.tensor(array, dtype), **kwargs)
        return None if result is None else result.to_numpy(), chip.clock.now_ps

    answers = run_spmd(box, program, lambda rank: (arrays[rank],), transport)
    return [(array, int(sim_ps)) for array, sim_ps in answers]


def arguments(name: str, op: str, dim: int, root: int) -> dict[str, Any]:
    """The arguments that a collective takes, of those drawn."""
    given: dict[str, Any] = {}
    if name in ("all_reduce", "reduce", "reduce_scatter"):
        given["op"] = op
    if name in ("reduce_scatter", "all_gather", "all_to_all", "gather", "scatter"):
        given["dim"] = dim
    if name in ("broadcast", "reduce", "gather", "scatter"):
        given["root"] = root
    return given


def check(results: list[np.ndarray | None], wanted: list[np.ndarray | None]) -> None:
    for result, want in zip(results, wanted, strict=True):
        if want is None:
            assert result is None
        else:
            assert result is not None
            assert result.shape == want.shape
            np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize("name", NAMES)
@few
@given(data=st.data())
def test_a_collective_gives_what_numpy_gives(name: str, data: st.DataObject) -> None:
    box = data.draw(st.sampled_from(BOXES))
    n = load_box(box).num_chips
    shape = data.draw(shapes)
    dtype = data.draw(st.sampled_from(REDUCIBLE))
    ops = ["sum", "min", "max", "prod"]
    op = data.draw(st.sampled_from([*ops, "mean"] if dtype is DType.FLOAT32 else ops))
    dim = data.draw(st.integers(-len(shape), len(shape) - 1))
    root = data.draw(st.integers(0, n - 1))
    operation = Operation(name)
    fit = ["auto", *(a.name for a in algorithms().values() if operation in a.operations)]
    chosen = data.draw(st.sampled_from(fit))
    transport = data.draw(st.sampled_from(TRANSPORTS))
    arrays = small_numbers(shape, dtype, data.draw(st.integers(0, 9)), n)
    given = arguments(name, op, dim, root)
    try:
        results = run(box, name, arrays, dtype, transport, algorithm=chosen, **given)
    except AlgorithmError:
        assert chosen == "grid" and box in ("p150", "p300")  # they have no two rows and columns
        return
    check([result for result, _ in results], expected(name, arrays, **given))


@pytest.mark.parametrize("transport", ["shared_memory", "routed"])
def test_every_collective_on_32_chips_gives_what_numpy_gives(transport: str) -> None:
    arrays = small_numbers((5, 33), DType.BFLOAT16, 3, 32)

    def program(chip: MeshChip, array: np.ndarray) -> list[np.ndarray | None]:
        x = chip.tensor(array, DType.BFLOAT16)
        results = [getattr(chip, n)(x, **arguments(n, "max", 1, 9)) for n in NAMES]
        return [None if result is None else result.to_numpy() for result in results]

    answers = run_spmd("galaxy", program, lambda rank: (arrays[rank],), transport)
    for place, name in enumerate(NAMES):
        wanted = expected(name, arrays, **arguments(name, "max", 1, 9))
        check([answer[place] for answer in answers], wanted)


@few
@given(data=st.data())
def test_values_travel_in_every_format_along_every_dim_of_an_all_to_all(
    data: st.DataObject,
) -> None:
    shape = data.draw(st.tuples(*[st.integers(0, 6)] * 3))
    dim, joint = data.draw(st.tuples(st.integers(-3, 2), st.integers(-3, 2)))
    arrays = small_numbers(shape, DType.INT32, 1, 4)
    results = run("quietbox2", "all_to_all", arrays, DType.INT32, dim=dim, concat_dim=joint)
    check(
        [result for result, _ in results],
        expected("all_to_all", arrays, dim=dim, concat_dim=joint),
    )


def random_words(shape: tuple[int, ...], dtype: DType, seed: int, count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    if dtype.is_float:
        return [encode(rng.standard_normal(shape).astype(np.float32), dtype) for _ in range(count)]
    return [rng.integers(0, 100, shape).astype(dtype.numpy) for _ in range(count)]


@pytest.mark.parametrize("box", ["p300", "quietbox2", "loudbox"])
@few
@given(data=st.data())
def test_the_bits_of_a_sum_are_those_of_the_schedule_on_paper(
    box: str, data: st.DataObject
) -> None:
    n = load_box(box).num_chips
    dtype = data.draw(st.sampled_from(REDUCIBLE))
    size = data.draw(st.sampled_from([1, 7, 64, 5000]))
    names = ["ring", "line", "tree", "halving", "direct"]
    chosen = data.draw(st.sampled_from(names if box == "p300" else [*names, "grid"]))
    floats = [DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16]
    wires = [None, *floats] if dtype.is_float else [None]
    wire = data.draw(st.sampled_from(wires))
    rounding = data.draw(st.sampled_from(["hop", "none"]))
    op = data.draw(st.sampled_from(["sum", "mean", "prod"] if dtype.is_float else ["sum"]))
    words = random_words((size,), dtype, 3, n)
    transport = data.draw(st.sampled_from(TRANSPORTS))

    def program(chip: MeshChip, own: np.ndarray) -> bytes:
        x = chip.adopt(chip.tensor(decode(own, dtype), dtype).spec, own.copy(), "x")
        result = chip.all_reduce(x, op=op, algorithm=chosen, wire_dtype=wire, rounding=rounding)
        assert result.storage is not None
        return result.storage.tobytes()

    answers = run_spmd(box, program, lambda rank: (words[rank],), transport)
    from meshtwin.collectives.call import Rounding

    call = Call(
        Operation.ALL_REDUCE, (size,), dtype, tuple(range(n)), op=ReduceOp(op),
        wire=None if wire is dtype else wire, rounding=Rounding(rounding),
    )  # fmt: skip
    for rank, answer in enumerate(answers):
        plan = plan_of(load_box(box), rank, call, chosen)
        pieces = []
        for chunk, items in enumerate(plan.chunk_items):
            start = plan.chunk_starts[chunk]
            values = [own[start : start + items] for own in words]
            pieces.append(evaluate(program_of(plan, chunk), values, plan.call))
        assert np.concatenate(pieces).tobytes() == answer


def test_parts_that_a_reduce_scatter_left_uneven_are_gathered_with_their_sizes() -> None:
    arrays = small_numbers((7, 3), DType.FLOAT32, 2, 4)

    def program(chip: MeshChip, array: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        part = chip.reduce_scatter(chip.tensor(array), dim=0)
        whole = chip.all_gather(part, dim=0, sizes=(2, 2, 2, 1))
        at_two = chip.gather(part, dim=0, root=2, sizes=(2, 2, 2, 1))
        return whole.to_numpy(), None if at_two is None else at_two.to_numpy()

    answers = run_spmd("quietbox2", program, lambda rank: (arrays[rank],))
    for rank, (whole, gathered) in enumerate(answers):
        np.testing.assert_array_equal(whole, np.sum(arrays, axis=0))
        assert (gathered is None) == (rank != 2)


def test_sizes_that_do_not_fit_are_refused() -> None:
    def program(chip: MeshChip) -> None:
        chip.all_gather(chip.tensor(np.zeros(3, np.float32)), dim=0, sizes=(3, 3, 3, 2))

    with pytest.raises(CollectiveError, match="chip 3 has 3 along dim 0"):
        run_spmd("quietbox2", program)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("axis", [0, 1, "row", "col"])
def test_an_axis_all_reduce_sums_only_along_it(axis: int | str, transport: str) -> None:
    arrays = small_numbers((6,), DType.INT32, 5, 8)
    grid = np.array(arrays).reshape(2, 4, 6)
    along = {"row": 0, "col": 1}.get(str(axis), axis)
    sums = np.broadcast_to(grid.sum(axis=int(along), keepdims=True), grid.shape).reshape(8, 6)
    answers = run("loudbox", "all_reduce", arrays, DType.INT32, transport, axis=axis)
    for want, (result, _) in zip(sums, answers, strict=True):
        np.testing.assert_array_equal(result, want)


@pytest.mark.parametrize("transport", TRANSPORTS)
@few
@given(data=st.data())
def test_any_group_of_chips_can_have_a_collective_of_its_own(
    transport: str, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(8)))
    cut = data.draw(st.integers(1, 7))
    groups = [sorted(order[:cut]), sorted(order[cut:])]
    name = data.draw(st.sampled_from(NAMES))
    arrays = small_numbers((5, 9), DType.INT32, 6, 8)
    places = data.draw(st.tuples(st.integers(0, cut - 1), st.integers(0, 7 - cut)))

    def program(chip: MeshChip, array: np.ndarray) -> np.ndarray | None:
        mine = 0 if chip.rank in groups[0] else 1
        root = groups[mine][places[mine]]
        x = chip.tensor(array)
        result = getattr(chip, name)(x, axis=groups[mine], **arguments(name, "sum", 1, root))
        return None if result is None else result.to_numpy()

    answers = run_spmd("loudbox", program, lambda rank: (arrays[rank],), transport)
    for group, place in zip(groups, places, strict=True):
        wanted = expected(
            name, [arrays[rank] for rank in group], **arguments(name, "sum", 1, place)
        )
        check([answers[rank] for rank in group], wanted)


def test_a_group_without_the_caller_or_with_strangers_is_refused() -> None:
    box = load_box("quietbox2")
    with pytest.raises(CollectiveError, match="chip 0 called it but is not in it"):
        group_of(box, 0, (1, 2))
    with pytest.raises(CollectiveError, match="different chips out of 0 to 3"):
        group_of(box, 0, (0, 9))


def test_reduce_scatter_then_all_gather_is_all_reduce_to_the_bit() -> None:
    words = random_words((8, 4), DType.FLOAT32, 6, 4)

    def both(chip: MeshChip, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = chip.tensor(array)
        parts = chip.reduce_scatter(x, dim=0, algorithm="halving")
        whole = chip.all_reduce(x, algorithm="halving")
        return chip.all_gather(parts, dim=0).to_numpy(), whole.to_numpy()

    for parts, whole in run_spmd("quietbox2", both, lambda rank: (words[rank],)):
        assert parts.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_simulated_times_do_not_depend_on_the_transport(name: str) -> None:
    arrays = small_numbers((16, 8), DType.FLOAT32, 7, 4)
    given = arguments(name, "sum", 0, 1)
    times = [
        [sim for _, sim in run("quietbox2", name, arrays, DType.FLOAT32, transport, **given)]
        for transport in TRANSPORTS
    ]
    assert times[0] == times[1] == times[2]
    assert all(sim_ps > 0 for sim_ps in times[0])


def test_a_barrier_brings_unequal_clocks_together_in_simulated_time() -> None:
    def program(chip: MeshChip) -> int:
        chip.clock.advance(chip.rank * 10_000_000)
        chip.barrier()
        return chip.clock.now_ps

    for transport in TRANSPORTS:
        ends = run_spmd("quietbox2", program, transport=transport)
        assert min(ends) > 30_000_000
    assert ends == run_spmd("quietbox2", program)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_chips_that_call_different_collectives_all_hear_of_it_with_both_lines(
    transport: str,
) -> None:
    def program(chip: MeshChip) -> str:
        x = chip.tensor(np.zeros(4, np.float32))
        try:
            chip.all_reduce(x)
            if chip.rank == 2:
                chip.broadcast(x)
            else:
                chip.all_reduce(x, op="max")
        except CollectiveMismatch as error:
            return str(error)
        return "no error"

    first = program.__code__.co_firstlineno
    for text in run_spmd("quietbox2", program, transport=transport):
        assert "collective 1: chip 0 called all_reduce(shape (4,), float32, op max)" in text
        assert f"test_collectives.py:{first + 7}, but chip 2 called broadcast(shape (4,)" in text
        assert f"root 0) at test_collectives.py:{first + 5}:" in text


def test_a_root_outside_the_group_is_refused() -> None:
    def program(chip: MeshChip) -> None:
        chip.broadcast(chip.tensor(np.zeros(1, np.float32)), root=9)

    with pytest.raises(CollectiveError, match="legal roots are 0, 1"):
        run_spmd("p300", program)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda c, x: c.reduce_scatter(x, dim=2), ChunkError, "legal dims are -2 to 1"),
        (lambda c, x: c.all_reduce(x, op="avg"), CollectiveError, "no such reduction"),
        (lambda c, x: c.all_reduce(x, op="mean"), CollectiveError, "mean needs a float format"),
        (lambda c, x: c.all_reduce(x, algorithm="grod"), AlgorithmError, "did you mean 'grid'"),
        (lambda c, x: c.all_reduce(x, rounding="up"), CollectiveError, "legal are 'hop', 'none'"),
        (lambda c, x: c.all_reduce(x, wire_dtype="bf16"), CollectiveError, "must be float formats"),
        (lambda c, x: c.send(x, c.rank), CollectiveError, "other than itself"),
    ],
)
def test_wrong_arguments_name_what_is_legal(
    call: Any, kind: type[CollectiveError], text: str
) -> None:
    def program(chip: MeshChip) -> None:
        call(chip, chip.tensor(np.zeros((4, 4), np.int32)))

    with pytest.raises(kind, match=text):
        run_spmd("quietbox2", program)


@algorithm("star", Layout.RANK, Operation.BROADCAST)
def star(operation: Operation, team: Any, root: int) -> list[list[Step]]:
    """Everybody from the root, one after another."""
    others = [p for p in range(team.num_ranks) if p != root]
    return [[Step(root, p, 0, StepKind.COPY)] for p in others]


def test_an_algorithm_of_ones_own_is_passed_to_the_call() -> None:
    arrays = small_numbers((5,), DType.FLOAT32, 1, 4)
    answers = run("quietbox2", "broadcast", arrays, DType.FLOAT32, algorithm=star, root=2)
    check([result for result, _ in answers], [arrays[2]] * 4)


def test_a_plan_has_the_times_of_a_run() -> None:
    from meshtwin.collectives.communicator import Communicator

    box = load_box("quietbox2")
    arrays = small_numbers((32, 32), DType.BFLOAT16, 8, 4)
    _, sim_ps = run("quietbox2", "all_reduce", arrays, DType.BFLOAT16)[0]
    chip = MeshChip.open(box.product, rank=0, plan=True)
    chip.box, chip.communicator = box, Communicator(box, 0, None, 1.0)
    result = chip.all_reduce(chip.tensor(arrays[0], DType.BFLOAT16))
    assert result.storage is None
    assert chip.clock.now_ps == sim_ps
    with pytest.raises(CollectiveError, match="which plan mode does not have"):
        chip.send(result, dst=1)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_send_and_recv_carry_tensors_between_any_two_chips_in_order(transport: str) -> None:
    def program(chip: MeshChip) -> list[np.ndarray]:
        if chip.rank == 0:
            for number in range(3):
                chip.send(chip.tensor(np.full((number + 1, 2), number, np.int32)), dst=7)
        chip.barrier()
        if chip.rank == 7:
            return [chip.recv(src=0).to_numpy() for _ in range(3)]
        return []

    received = run_spmd("loudbox", program, transport=transport)[7]
    for number, array in enumerate(received):
        np.testing.assert_array_equal(array, np.full((number + 1, 2), number))


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_recv_without_a_source_takes_each_tensor_once_between_collectives(transport: str) -> None:
    def program(chip: MeshChip) -> list[int]:
        if chip.rank:
            chip.send(chip.tensor(np.array([chip.rank], np.int32)), dst=0)
        chip.all_reduce(chip.tensor(np.ones(3, np.float32)))
        chip.barrier()
        if chip.rank:
            return []
        return sorted(int(chip.recv().to_numpy()[0]) for _ in range(3))

    assert run_spmd("quietbox2", program, transport=transport)[0] == [1, 2, 3]


def test_a_farther_chip_gets_a_message_later_in_simulated_time() -> None:
    def program(chip: MeshChip, far: int) -> int:
        if chip.rank == 0:
            chip.send(chip.tensor(np.zeros(64, np.float32)), dst=far)
        elif chip.rank == far:
            chip.recv(src=0)
        return chip.clock.now_ps

    near, far = (run_spmd("loudbox", partial(program, far=far))[far] for far in (1, 7))
    hop_ps = load_box("loudbox").link.hop_latency_ps
    assert far - near >= hop_ps


def test_a_chip_alone_has_nobody_to_send_to_or_receive_from() -> None:
    def program(chip: MeshChip) -> None:
        for call in (lambda: chip.send(chip.tensor(np.ones(1, np.float32)), 0), chip.recv):
            with pytest.raises(CollectiveError, match="other than itself"):
                call()

    run_spmd("p150", program)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_algorithms_of_one_name_and_different_steps_are_a_mismatch(transport: str) -> None:
    def star(way: int) -> Algorithm:
        @algorithm("star", Layout.RANK, Operation.BROADCAST)
        def planned(operation: Operation, team: Team, root: int) -> Any:
            dsts = [dst for dst in range(team.num_ranks) if dst != root]
            return [[Step(root, dst, 0, StepKind.COPY)] for dst in dsts[::way]]

        return planned

    def program(chip: MeshChip) -> None:
        x = chip.tensor(np.ones(4, np.float32))
        chip.broadcast(x, algorithm=star(1))
        chip.broadcast(x, algorithm=star(-1 if chip.rank == 1 else 1))

    ends = endings("quietbox2", program, transport=transport)
    assert [type(end) for end in ends] == [CollectiveMismatch] * 4


def test_results_lie_in_the_memory_of_what_went_in_and_shards_of_another_shape_do_not() -> None:
    shards = MemoryConfig(Buffer.L1, MemoryLayout.HEIGHT_SHARDED, ShardSpec(core_grid(2), (32, 32)))

    def program(chip: MeshChip) -> list[MemoryConfig]:
        x = chip.tensor(np.ones((64, 32), np.float32), memory=shards)
        return [chip.all_reduce(x).memory, chip.all_gather(x, 0).memory]

    assert run_spmd("p300", program) == [[shards, MemoryConfig.L1]] * 2


def test_a_freed_tensor_is_not_sent() -> None:
    def program(chip: MeshChip) -> str:
        x = chip.tensor(np.ones((4, 4), np.float32), what="gradients")
        chip.free(x)
        texts = []
        for call in (lambda: chip.all_reduce(x), lambda: chip.send(x, 1 - chip.rank)):
            with pytest.raises(UseAfterFree) as caught:
                call()
            texts.append(str(caught.value))
        chip.barrier()
        return "; ".join(texts)

    answers = run_spmd("p300", program)
    assert answers == [
        f"chip {rank}, all_reduce: 'gradients' float32[4, 4] was freed; "
        f"chip {rank}, send: 'gradients' float32[4, 4] was freed"
        for rank in (0, 1)
    ]
