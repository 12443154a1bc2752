"""Collectives on real chips (threads, the real fabric) against numpy, on every transport."""

from functools import reduce
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.collectives.errors import ChunkError, CollectiveError, CollectiveMismatch
from meshtwin.collectives.group import group_of
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.program import MeshChip

from ..spmd import run_spmd

BOXES = ("p150", "p300", "quietbox2", "loudbox")
TRANSPORTS = ("shared_memory", "zeromq")
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def inputs(box: str, shape: tuple[int, ...], dtype: DType, seed: int) -> list[np.ndarray]:
    """One array a chip, exact in `dtype`."""
    rng = np.random.default_rng(seed)
    arrays = []
    for _ in range(load_box(box).num_chips):
        if dtype.is_float:
            arrays.append(decode(encode(rng.standard_normal(shape), dtype), dtype))
        else:
            arrays.append(rng.integers(0, 1000, shape).astype(dtype.numpy))
    return arrays


def run(
    box: str, name: str, arrays: list[np.ndarray], dtype: DType, transport: str, **kwargs: Any
) -> list[tuple[np.ndarray, int]]:
    """Each chip's result and simulated time after the collective."""

    def program(chip: MeshChip, array: np.ndarray) -> tuple[np.ndarray, int]:
        result = getattr(chip, name)(chip.tensor(array, dtype), **kwargs)
        return result.to_numpy(), chip.clock.now_ps

    answers = run_spmd(box, program, lambda rank: (arrays[rank],), transport)
    return [(array, int(sim_ps)) for array, sim_ps in answers]


def ordered_sum(box: str, arrays: list[np.ndarray], dtype: DType) -> np.ndarray:
    """The sum of a ring all_reduce, chunk by chunk in the documented order."""
    order = group_of(load_box(box), 0, None).order
    ranks = len(order)
    flat = [array.reshape(-1) for array in arrays]
    width = -(-flat[0].size // ranks)
    total = np.empty_like(flat[0])
    for position, block in enumerate(order):
        cut = slice(block * width, (block + 1) * width)
        parts = [flat[order[(position + 1 + step) % ranks]][cut] for step in range(ranks)]
        total[cut] = reduce(lambda a, b: decode(encode(a + b, dtype), dtype), parts)
    return total.reshape(arrays[0].shape)


@few
@given(
    box=st.sampled_from(BOXES),
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(DType),
    transport=st.sampled_from(TRANSPORTS),
    seed=st.integers(0, 99),
)
def test_all_reduce_is_the_sum_in_ring_order_to_the_bit(
    box: str, shape: tuple[int, ...], dtype: DType, transport: str, seed: int
) -> None:
    arrays = inputs(box, shape, dtype, seed)
    expected = ordered_sum(box, arrays, dtype)
    for result, _ in run(box, "all_reduce", arrays, dtype, transport):
        assert result.shape == shape
        assert result.tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [100, 40_000, 700_000])
def test_small_large_and_sliced_tensors_have_the_same_bits_on_every_transport(size: int) -> None:
    arrays = inputs("quietbox2", (size,), DType.FLOAT32, 1)
    expected = ordered_sum("quietbox2", arrays, DType.FLOAT32)
    for transport in TRANSPORTS:
        for result, _ in run("quietbox2", "all_reduce", arrays, DType.FLOAT32, transport):
            assert result.tobytes() == expected.tobytes()


@few
@given(
    box=st.sampled_from(BOXES),
    dim=st.integers(-3, 2),
    dtype=st.sampled_from(DType),
    transport=st.sampled_from(TRANSPORTS),
)
def test_all_gather_joins_by_rank(box: str, dim: int, dtype: DType, transport: str) -> None:
    arrays = inputs(box, (2, 3, 4), dtype, 2)
    for result, _ in run(box, "all_gather", arrays, dtype, transport, dim=dim):
        assert np.array_equal(result, np.concatenate(arrays, axis=dim))


@few
@given(box=st.sampled_from(BOXES), dim=st.integers(-2, 1), transport=st.sampled_from(TRANSPORTS))
def test_reduce_scatter_gives_chip_i_part_i_of_the_sum(box: str, dim: int, transport: str) -> None:
    arrays = inputs(box, (16, 8), DType.INT32, 3)
    parts = np.split(np.sum(arrays, axis=0), len(arrays), axis=dim)
    for part, (result, _) in zip(
        parts, run(box, "reduce_scatter", arrays, DType.INT32, transport, dim=dim), strict=True
    ):
        assert np.array_equal(result, part)


@few
@given(box=st.sampled_from(BOXES), transport=st.sampled_from(TRANSPORTS), data=st.data())
def test_broadcast_gives_everybody_the_roots_tensor(
    box: str, transport: str, data: st.DataObject
) -> None:
    arrays = inputs(box, (5, 7), DType.FLOAT32, 4)
    root = data.draw(st.integers(0, len(arrays) - 1))
    for result, _ in run(box, "broadcast", arrays, DType.FLOAT32, transport, root=root):
        assert np.array_equal(result, arrays[root])


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("axis", [0, 1, "row", "col"])
def test_an_axis_all_reduce_sums_only_along_it(axis: int | str, transport: str) -> None:
    arrays = inputs("loudbox", (6,), DType.INT32, 5)
    grid = np.array(arrays).reshape(2, 4, 6)
    along = {"row": 0, "col": 1}.get(str(axis), axis)
    sums = np.broadcast_to(grid.sum(axis=int(along), keepdims=True), grid.shape).reshape(8, 6)
    answers = run("loudbox", "all_reduce", arrays, DType.INT32, transport, axis=axis)
    for expected, (result, _) in zip(sums, answers, strict=True):
        assert np.array_equal(result, expected)


def test_reduce_scatter_then_all_gather_is_all_reduce_to_the_bit() -> None:
    arrays = inputs("quietbox2", (8, 4), DType.BFLOAT16, 6)

    def both(chip: MeshChip, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = chip.tensor(array, DType.BFLOAT16)
        parts = chip.all_gather(chip.reduce_scatter(x, dim=0), dim=0)
        return parts.to_numpy(), chip.all_reduce(x).to_numpy()

    for parts, whole in run_spmd("quietbox2", both, lambda rank: (arrays[rank],)):
        assert parts.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", ["all_reduce", "all_gather", "reduce_scatter", "broadcast"])
@pytest.mark.parametrize("box", ["p300", "quietbox2", "loudbox"])
def test_simulated_times_do_not_depend_on_the_transport(name: str, box: str) -> None:
    arrays = inputs(box, (16, 8), DType.FLOAT32, 7)
    kwargs = {"dim": 0} if name in ("all_gather", "reduce_scatter") else {}
    first, second = (
        run(box, name, arrays, DType.FLOAT32, transport, **kwargs) for transport in TRANSPORTS
    )
    assert [sim_ps for _, sim_ps in first] == [sim_ps for _, sim_ps in second]
    assert all(sim_ps > 0 for _, sim_ps in first)


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
def test_chips_that_call_different_collectives_all_hear_of_it(transport: str) -> None:
    def program(chip: MeshChip) -> str:
        x = chip.tensor(np.zeros(4, np.float32))
        try:
            chip.broadcast(x) if chip.rank == 2 else chip.all_reduce(x)
        except CollectiveMismatch as error:
            return str(error)
        return "no error"

    for text in run_spmd("quietbox2", program, transport=transport):
        assert "chip 0 called all_reduce(shape (4,), float32)" in text
        assert "chip 2 called broadcast(shape (4,), float32, root 0)" in text


def test_a_dim_that_does_not_divide_names_the_nearest_sizes() -> None:
    def program(chip: MeshChip) -> None:
        chip.reduce_scatter(chip.tensor(np.zeros((6, 2), np.float32)), dim=0)

    with pytest.raises(ChunkError, match=r"size 6, which does not divide over 4 chips.*4 and 8"):
        run_spmd("quietbox2", program)


def test_a_root_outside_the_group_is_refused() -> None:
    def program(chip: MeshChip) -> None:
        chip.broadcast(chip.tensor(np.zeros(1, np.float32)), root=9)

    with pytest.raises(CollectiveError, match="legal roots are 0, 1"):
        run_spmd("p300", program)


def test_a_plan_has_the_times_of_a_run() -> None:
    from meshtwin.collectives.communicator import Communicator

    box = load_box("quietbox2")
    arrays = inputs("quietbox2", (32, 32), DType.BFLOAT16, 8)
    _, sim_ps = run("quietbox2", "all_reduce", arrays, DType.BFLOAT16, "shared_memory")[0]
    chip = MeshChip.open(box.product, rank=0, plan=True)
    chip.box, chip.communicator = box, Communicator(box, 0, None, 1.0)
    result = chip.all_reduce(chip.tensor(arrays[0], DType.BFLOAT16))
    assert result.storage is None
    assert chip.clock.now_ps == sim_ps
