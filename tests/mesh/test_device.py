"""A mesh of real actors: arrays on it, programs on it, errors from it."""

import gc
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import OutOfMemory, ShapeError, UninitializedRead
from meshtwin.chip.spec import Constant
from meshtwin.collectives.errors import CollectiveMismatch, CollectiveTimeout
from meshtwin.fabric.errors import FabricHang, UnknownBox
from meshtwin.fabric.topology import load_box
from meshtwin.mesh.device import MeshDevice, MeshTensor, PerChip, open_mesh
from meshtwin.mesh.errors import (
    LaunchError,
    MeshClosed,
    PlacementError,
    ProgramError,
    ResultMismatch,
    UnreceivedTensors,
)
from meshtwin.mesh.placement import Local, Replicate, Shard
from meshtwin.mesh.program import MeshChip

from ..spmd import run_spmd

pytestmark = pytest.mark.ray
few = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Sour(Exception):
    """A user's own error."""

    def __init__(self, amount: int) -> None:
        super().__init__(amount)
        self.amount = amount


class Unpicklable(Exception):
    """An error that cannot leave its process."""

    def __reduce__(self) -> Any:
        raise TypeError("stays here")


def total(chip: MeshChip, x: Any) -> Any:
    return chip.all_reduce(x)


# ---------------------------------------------------------------- arrays


@few
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    dim=st.sampled_from([0, 1, -1, -2]),
    axis=st.sampled_from([None, 0, 1, "row", "col"]),
)
def test_a_sharded_array_comes_back_whole(
    quietbox2_mesh: MeshDevice, rows: int, columns: int, dim: int, axis: int | str | None
) -> None:
    array = np.arange(rows * columns * 16, dtype=np.int32).reshape(rows * 4, columns * 4)
    tensor = quietbox2_mesh.shard(array, dim, axis)
    assert tensor.shape == array.shape
    assert np.array_equal(quietbox2_mesh.to_numpy(tensor), array)
    parts = quietbox2_mesh.to_numpy(tensor, Local())
    num_parts = 4 if axis is None else 2
    assert parts.size == array.size * 4 // num_parts


def test_chip_i_holds_part_i_and_an_axis_cuts_along_its_coordinate(
    quietbox2_mesh: MeshDevice,
) -> None:
    array = np.arange(4, dtype=np.float32)
    parts = quietbox2_mesh.to_numpy(quietbox2_mesh.shard(array, 0), Local())
    assert parts.tolist() == [[0], [1], [2], [3]]
    parts = quietbox2_mesh.to_numpy(quietbox2_mesh.shard(array, 0, "row"), Local())
    assert parts.tolist() == [[0, 1], [0, 1], [2, 3], [2, 3]]
    parts = quietbox2_mesh.to_numpy(quietbox2_mesh.shard(array, 0, "col"), Local())
    assert parts.tolist() == [[0, 1], [2, 3], [0, 1], [2, 3]]


def test_bfloat16_is_rounded_once_on_the_way_in(quietbox2_mesh: MeshDevice) -> None:
    tensor = quietbox2_mesh.replicate([1.00390625, 3.0], dtype="bfloat16")
    assert tensor.dtype is DType.BFLOAT16
    assert quietbox2_mesh.to_numpy(tensor).tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("shape", "dim", "text"),
    [
        ((6, 2), 0, r"size 6, which does not divide over 4 chips; the nearest legal .*4 and 8"),
        ((3,), 0, r"size 3.*the nearest legal size is 4"),
        ((4, 4), 2, r"legal dims are -2 to 1"),
    ],
)
def test_an_array_that_cannot_be_cut_names_the_nearest_legal_choice(
    quietbox2_mesh: MeshDevice, shape: tuple[int, ...], dim: int, text: str
) -> None:
    with pytest.raises(PlacementError, match=text):
        quietbox2_mesh.shard(np.zeros(shape), dim)


def test_an_unknown_mesh_axis_names_the_legal_ones(quietbox2_mesh: MeshDevice) -> None:
    with pytest.raises(PlacementError, match="'row', 'col'"):
        quietbox2_mesh.shard(np.zeros(4), 0, "depth")


def test_replicate_is_checked_when_it_is_read(quietbox2_mesh: MeshDevice) -> None:
    mine = quietbox2_mesh.run(
        lambda chip: chip.tensor(np.full(2, chip.rank, np.float32)), out=Replicate()
    )
    with pytest.raises(PlacementError, match=r"same values on chips 0 and 1"):
        quietbox2_mesh.to_numpy(mine)
    assert quietbox2_mesh.to_numpy(mine, Local()).tolist() == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_dram_is_free_again_when_handles_are_dropped(quietbox2_mesh: MeshDevice) -> None:
    def used() -> list[int]:
        return [report.dram_used_bytes for report in quietbox2_mesh.reports()]

    gc.collect()
    before = used()
    tensor = quietbox2_mesh.replicate(np.zeros((64, 64), np.float32))
    result = quietbox2_mesh.run(lambda chip, x: (x, chip.add(x, x)), tensor)
    kept = quietbox2_mesh.run(lambda chip: [chip.empty((32, 32))], keep=True)
    assert all(now > then for now, then in zip(used(), before, strict=True))
    del tensor, result, kept
    gc.collect()
    assert used() == before


def test_dram_is_free_again_when_a_run_fails_on_one_chip(quietbox2_mesh: MeshDevice) -> None:
    def program(chip: MeshChip) -> Any:
        x = chip.empty((64, 64))
        if chip.rank == 3:
            raise Sour(1)
        return x

    def used() -> list[int]:
        return [report.dram_used_bytes for report in quietbox2_mesh.reports()]

    gc.collect()
    before = used()
    for keep in (False, True):
        with pytest.raises(Sour):
            quietbox2_mesh.run(program, keep=keep)
    with pytest.raises(PlacementError):
        quietbox2_mesh.run(lambda chip: chip.empty((64, 64)), out=Shard(7))
    gc.collect()
    assert used() == before


# ---------------------------------------------------------------- programs


def test_chips_are_processes_of_their_own(quietbox2_mesh: MeshDevice) -> None:
    pids = quietbox2_mesh.run(lambda chip: os.getpid())
    assert len({*pids, os.getpid()}) == 5
    assert [report.pid for report in quietbox2_mesh.reports()] == pids


def test_results_keep_their_nesting(quietbox2_mesh: MeshDevice) -> None:
    def program(chip: MeshChip, x: Any, words: dict[str, Any]) -> dict[str, Any]:
        return {"pair": (chip.add(x, x), chip.coords), "word": words["one"][0], "none": None}

    x = quietbox2_mesh.shard(np.arange(4, dtype=np.float32), 0)
    result = quietbox2_mesh.run(program, x, {"one": ["a"]}, out=Shard(0))
    doubled, coords = result["pair"]
    assert isinstance(doubled, MeshTensor)
    assert quietbox2_mesh.to_numpy(doubled).tolist() == [0, 2, 4, 6]
    assert list(zip(*coords, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert result["word"] == ["a"] * 4
    assert result["none"] == [None] * 4


def test_per_chip_arguments_and_kept_objects(quietbox2_mesh: MeshDevice) -> None:
    kept = quietbox2_mesh.run(
        lambda chip, value: {"x": chip.tensor([value])}, PerChip([1.0, 2.0, 3.0, 4.0]), keep=True
    )
    doubled = quietbox2_mesh.run(lambda chip, kept: chip.add(kept["x"], kept["x"]), kept)
    assert quietbox2_mesh.to_numpy(doubled).reshape(-1).tolist() == [2, 4, 6, 8]


def test_results_that_differ_in_structure_are_named(quietbox2_mesh: MeshDevice) -> None:
    with pytest.raises(ResultMismatch, match=r"chip 0 returned .* but chip 3 returned"):
        quietbox2_mesh.run(lambda chip: (1,) if chip.rank == 3 else [1, 2])


class Pair(NamedTuple):
    first: Any
    second: Any


def test_named_tuples_keep_their_type(quietbox2_mesh: MeshDevice) -> None:
    x = quietbox2_mesh.replicate(np.ones(1, np.float32))
    pair = quietbox2_mesh.run(lambda chip, pair: Pair(pair.second, pair.first), Pair(x, 5))
    assert isinstance(pair, Pair)
    assert pair.first == [5] * 4
    assert isinstance(pair.second, MeshTensor)


def test_a_result_that_is_a_tensor_on_some_chips_only_is_a_mismatch(
    quietbox2_mesh: MeshDevice,
) -> None:
    with pytest.raises(ResultMismatch, match=r"tensor \(2,\) float32\), but chip 1 .*\(int, int\)"):
        quietbox2_mesh.run(
            lambda chip: (0, chip.tensor(np.ones(2, np.float32)) if chip.rank == 0 else 1)
        )


def test_an_out_that_does_not_fit_the_result_is_a_placement_error(
    quietbox2_mesh: MeshDevice,
) -> None:
    def ragged(chip: MeshChip) -> Any:
        return chip.tensor(np.zeros(chip.rank + 1, np.float32))

    with pytest.raises(PlacementError, match="no dim that could be cut"):
        quietbox2_mesh.run(lambda chip: chip.tensor(np.float32(1)), out=Shard(0))
    with pytest.raises(PlacementError, match="dim 2 is not a dim"):
        quietbox2_mesh.run(lambda chip: chip.tensor(np.zeros((2, 2), np.float32)), out=Shard(2))
    with pytest.raises(PlacementError, match="same shape and dtype on chips 0 and 1"):
        quietbox2_mesh.run(ragged, out=Shard(0))
    with pytest.raises(PlacementError, match="same shape on chips 0 and 1"):
        quietbox2_mesh.to_numpy(quietbox2_mesh.run(ragged))


def test_replicas_along_the_other_axis_are_checked_when_they_are_read(
    quietbox2_mesh: MeshDevice,
) -> None:
    mine = quietbox2_mesh.run(
        lambda chip: chip.tensor(np.full(2, chip.rank, np.float32)), out=Shard(0, axis=0)
    )
    assert mine.shape == (4,)
    with pytest.raises(PlacementError, match="same values on chips 0 and 1"):
        quietbox2_mesh.to_numpy(mine)


def test_per_chip_holds_a_value_for_each_chip_and_handles_too(quietbox2_mesh: MeshDevice) -> None:
    with pytest.raises(PlacementError, match="holds 3 values, but the mesh has 4 chips"):
        quietbox2_mesh.run(lambda chip, value: value, PerChip([1, 2, 3]))
    x = quietbox2_mesh.shard(np.arange(4, dtype=np.float32), 0)
    mixed = PerChip([(x, 1), (x, 2), (x, 3), (x, 4)])
    assert quietbox2_mesh.run(lambda chip, own: own[0].shape[0] + own[1], mixed) == [2, 3, 4, 5]


@few
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple), seed=st.integers(0, 9))
def test_all_reduce_on_actors_is_numpys_sum(
    quietbox2_mesh: MeshDevice, shape: tuple[int, ...], seed: int
) -> None:
    array = np.random.default_rng(seed).integers(-99, 99, (4, *shape)).astype(np.int32)
    x = quietbox2_mesh.shard(array, 0)
    y = quietbox2_mesh.run(total, x, out=Replicate())
    assert np.array_equal(quietbox2_mesh.to_numpy(y), array.sum(axis=0, keepdims=True))


def axes_and_gathers(chip: MeshChip, x: Any) -> tuple[Any, ...]:
    along = chip.all_reduce(x, axis="row"), chip.all_reduce(x, axis=1)
    gathered = chip.all_gather(x, dim=0)
    chip.barrier()
    return (*along, gathered, chip.reduce_scatter(gathered, dim=0), chip.broadcast(x, root=2))


def test_every_collective_on_actors_against_numpy(quietbox2_mesh: MeshDevice) -> None:
    array = np.arange(8, dtype=np.int32).reshape(4, 2)
    x = quietbox2_mesh.shard(array, 0)
    rows, cols, gathered, scattered, sent = [
        quietbox2_mesh.to_numpy(y, Local()) for y in quietbox2_mesh.run(axes_and_gathers, x)
    ]
    grid = array.reshape(2, 2, 2)
    down, across = grid.sum(0), grid.sum(1)
    assert rows[:, 0].tolist() == [*down.tolist(), *down.tolist()]
    assert cols[:, 0].tolist() == [across[0].tolist()] * 2 + [across[1].tolist()] * 2
    assert all(np.array_equal(part, array) for part in gathered)
    assert np.array_equal(scattered[:, 0], 4 * array)
    assert all(np.array_equal(part[0], array[2]) for part in sent)


@pytest.mark.slow
def test_an_all_reduce_on_32_actors_has_equal_bits_and_times_in_two_runs(
    galaxy_mesh: MeshDevice,
) -> None:
    array = np.random.default_rng(0).standard_normal((32, 50, 7)).astype(np.float32)
    x = galaxy_mesh.shard(array, 0)
    answers = []
    for _ in range(2):
        sim_start_ps = galaxy_mesh.sim_now_ps
        y = galaxy_mesh.run(total, x, out=Replicate())
        answers.append((galaxy_mesh.to_numpy(y).tobytes(), galaxy_mesh.sim_now_ps - sim_start_ps))
    assert answers[0] == answers[1]
    assert answers[0][1] > 0
    result = np.frombuffer(answers[0][0], np.float32).reshape(1, 50, 7)
    np.testing.assert_allclose(result, array.sum(axis=0, keepdims=True), rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- simulated time


def mixed_work(chip: MeshChip, x: Any) -> int:
    """Unequal work on the chips, then collectives of all kinds: the chip's clock at the end."""
    for _ in range(chip.rank + 1):
        x = chip.add(x, x)
    x = chip.all_gather(chip.reduce_scatter(chip.all_reduce(x), dim=1), dim=1)
    chip.barrier(axis="col")
    chip.all_reduce(chip.matmul(x, x), axis="row")
    return chip.clock.now_ps


@pytest.mark.slow
def test_simulated_times_do_not_depend_on_transport_processes_or_load(ray_session: None) -> None:
    array = np.ones((64, 64), np.float32)
    burn = [sys.executable, "-c", "while True: pass"]
    times = []
    for transport, load in [("shared_memory", 0), ("zeromq", 0), ("auto", 4)]:
        busy = [subprocess.Popen(burn) for _ in range(load)]
        try:
            with open_mesh("quietbox2", transport=transport) as mesh:
                times.append(mesh.run(mixed_work, mesh.replicate(array)))
        finally:
            for process in busy:
                process.kill()
                process.wait()
    threads = run_spmd("quietbox2", lambda chip: mixed_work(chip, chip.tensor(array)))
    assert times == [threads] * 3
    assert min(threads) > 0


# ---------------------------------------------------------------- errors


def fails_on_2(chip: MeshChip, x: Any, error: type[Exception], *args: Any) -> Any:
    if chip.rank == 2:
        raise error(*args)
    return chip.all_reduce(x)


@pytest.fixture
def ones(quietbox2_mesh: MeshDevice) -> MeshTensor:
    return quietbox2_mesh.replicate(np.ones(3, np.float32))


def lives_on(mesh: MeshDevice, x: MeshTensor) -> None:
    """The next program runs, and gives right values."""
    y = mesh.run(total, x, out=Replicate())
    assert mesh.to_numpy(y).tolist() == [mesh.num_chips] * 3


def test_a_users_own_error_arrives_by_type_with_chip_and_op(
    quietbox2_mesh: MeshDevice, ones: MeshTensor
) -> None:
    for _ in range(3):
        with pytest.raises(Sour) as caught:
            quietbox2_mesh.run(fails_on_2, ones, Sour, 7)
        assert caught.value.amount == 7
        assert vars(caught.value)["chip"] == 2
        assert any(note.startswith("raised on chip 2") for note in caught.value.__notes__)
        lives_on(quietbox2_mesh, ones)


def test_an_error_that_cannot_travel_arrives_as_its_name_and_text(
    quietbox2_mesh: MeshDevice, ones: MeshTensor
) -> None:
    with pytest.raises(ProgramError, match=r"chip 2: Unpicklable after op .*: oh"):
        quietbox2_mesh.run(fails_on_2, ones, Unpicklable, "oh")
    lives_on(quietbox2_mesh, ones)


class Mute(Exception):
    """An error that takes no attributes and has no text."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(name)

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_the_strangest_error_still_arrives(quietbox2_mesh: MeshDevice, ones: MeshTensor) -> None:
    with pytest.raises(ProgramError, match=r"Mute after op .*cannot be made: RuntimeError"):
        quietbox2_mesh.run(fails_on_2, ones, Mute)
    lives_on(quietbox2_mesh, ones)


def test_a_failure_wakes_the_others_long_before_their_limit(ray_session: None) -> None:
    """The others would wait ten minutes; the test has not got ten minutes."""
    with open_mesh("p300", collective_timeout_s=600.0) as mesh:
        x = mesh.replicate(np.ones(3, np.float32))

        def program(chip: MeshChip, x: Any) -> Any:
            if chip.rank == 0:
                raise Sour(0)
            return chip.all_reduce(x)

        with pytest.raises(Sour):
            mesh.run(program, x)
        lives_on(mesh, x)


def test_an_ops_error_names_chip_and_op(quietbox2_mesh: MeshDevice, ones: MeshTensor) -> None:
    with pytest.raises(ShapeError) as caught:
        quietbox2_mesh.run(lambda chip, x: chip.matmul(x, x), ones)
    assert (caught.value.chip, caught.value.op) == (0, "matmul")
    lives_on(quietbox2_mesh, ones)


def test_a_checked_mesh_finds_reads_of_what_nobody_wrote_and_tells_its_memory() -> None:
    with open_mesh("p150", checked=True) as mesh:
        with pytest.raises(UninitializedRead, match=r"chip 0, silu: reads 4 elements of 'scratch'"):
            mesh.run(lambda chip: chip.silu(chip.empty((2, 2), what="scratch")))
        (report,) = mesh.run(lambda chip: chip.memory_report())
        assert (report.product, report.dram.used_bytes) == ("p150", 0)


def test_a_full_chip_says_who_holds_its_dram(quietbox2_mesh: MeshDevice, ones: MeshTensor) -> None:
    with pytest.raises(OutOfMemory, match=r"no room for 'cache'.*free"):
        quietbox2_mesh.run(lambda chip: chip.empty((1 << 40,), what="cache"))
    lives_on(quietbox2_mesh, ones)


def test_different_collectives_are_a_mismatch(quietbox2_mesh: MeshDevice, ones: MeshTensor) -> None:
    def program(chip: MeshChip, x: Any) -> Any:
        return chip.all_gather(x, 0) if chip.rank == 1 else chip.all_reduce(x)

    with pytest.raises(CollectiveMismatch, match="chip 1 called all_gather"):
        quietbox2_mesh.run(program, ones)
    lives_on(quietbox2_mesh, ones)


def test_a_chip_that_never_comes_is_named(ray_session: None) -> None:
    def late(chip: MeshChip, x: Any) -> Any:
        if chip.rank == 1:
            time.sleep(1.5)
        return chip.all_reduce(x)

    with open_mesh("p300", collective_timeout_s=0.5) as mesh:
        x = mesh.replicate(np.ones(3, np.float32))
        with pytest.raises(FabricHang, match="chip 1 has ended its program"):
            mesh.run(lambda chip, x: chip.all_reduce(x) if chip.rank == 0 else x, x)
        lives_on(mesh, x)
        with pytest.raises(CollectiveTimeout, match=r"waited 0.5 s in all_reduce.*for chip 1"):
            mesh.run(late, x)
        lives_on(mesh, x)


def test_a_tensor_of_another_mesh_is_refused(
    quietbox2_mesh: MeshDevice, p300_mesh: MeshDevice
) -> None:
    x = p300_mesh.replicate(np.zeros(1))
    with pytest.raises(PlacementError, match="another mesh"):
        quietbox2_mesh.run(total, x)


def test_a_closed_mesh_says_so_and_closes_twice(ray_session: None) -> None:
    mesh = open_mesh("p150")
    mesh.close()
    mesh.close()
    with pytest.raises(MeshClosed, match="p150 is closed"):
        mesh.run(lambda chip: 1)


def test_unknown_boxes_and_transports_name_the_legal_ones(ray_session: None) -> None:
    with pytest.raises(UnknownBox, match="'galaxy'"):
        open_mesh("galaxi")
    with pytest.raises((ValueError, LaunchError), match="auto, shared_memory, zeromq"):
        open_mesh("p150", transport="pigeon")


# ---------------------------------------------------------------- what must not be shared


@pytest.mark.slow
def test_a_failed_run_takes_no_simulated_time(ray_session: None) -> None:
    clocks = []
    for num_failures in (0, 3):
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones((8, 8), np.float32))
            mesh.run(mixed_work, x)
            for _ in range(num_failures):
                with pytest.raises(Sour):
                    mesh.run(fails_on_2, x, Sour, 1)
            clocks.append(mesh.run(mixed_work, x))
    assert clocks[0] == clocks[1]


def test_a_failed_run_takes_no_simulated_time_on_chips_that_came_to_its_end(
    quietbox2_mesh: MeshDevice, ones: MeshTensor
) -> None:
    def program(chip: MeshChip, x: Any, fails: bool) -> int:
        if fails:
            chip.all_reduce(x)
        if fails and chip.rank == 1:
            raise Sour(1)
        return chip.clock.now_ps

    before = quietbox2_mesh.run(program, ones, False)
    with pytest.raises(Sour):
        quietbox2_mesh.run(program, ones, True)
    assert quietbox2_mesh.run(program, ones, False) == before


def test_a_program_that_exits_ends_no_chip(quietbox2_mesh: MeshDevice, ones: MeshTensor) -> None:
    with pytest.raises(ProgramError, match="chip 1: SystemExit after op start"):
        quietbox2_mesh.run(lambda chip, x: sys.exit(3) if chip.rank == 1 else x, ones)
    lives_on(quietbox2_mesh, ones)


def test_a_changed_box_is_the_one_that_the_chips_have(ray_session: None) -> None:
    box = load_box("p300")
    rate = Constant(1e9, "bytes/s", "inferred", "a test")
    slow = replace(box, link=replace(box.link, line_rate=rate))
    times = []
    for where in (box, slow):
        with open_mesh(where) as mesh:
            x = mesh.replicate(np.zeros(1 << 20, np.float32))
            mesh.run(total, x)
            times.append(mesh.sim_now_ps)
    assert times[1] > 10 * times[0]


def test_numbers_of_arrays_and_of_results_never_meet(quietbox2_mesh: MeshDevice) -> None:
    put = quietbox2_mesh.replicate(np.zeros(1))
    got = quietbox2_mesh.run(lambda chip, x: chip.add(x, x), put)
    assert put.number < 0 < got.number


def test_the_second_of_two_meshes_lives_on_when_the_first_closes() -> None:
    script = """
import numpy as np, ray
from meshtwin.mesh.device import open_mesh
first, second = open_mesh("p150"), open_mesh("p300")
first.close()
x = second.replicate(np.ones(2, np.float32))
print(second.to_numpy(second.run(lambda chip, x: chip.all_reduce(x), x)).tolist())
second.close()
print(ray.is_initialized())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == ["[[2.0, 2.0], [2.0, 2.0]]", "False"], done.stderr


def test_another_address_than_the_connected_one_is_refused(ray_session: None) -> None:
    with pytest.raises(LaunchError, match=r"already, not to 10.1.2.3:6379"):
        open_mesh("p150", address="10.1.2.3:6379")


def test_threads_take_turns(quietbox2_mesh: MeshDevice) -> None:
    def work(value: int) -> list[float]:
        x = quietbox2_mesh.replicate(np.full(3, value, np.float32))
        y = quietbox2_mesh.run(total, x, out=Replicate())
        return [float(v) for v in quietbox2_mesh.to_numpy(y)]

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(20))) == [[4.0 * v] * 3 for v in range(20)]


def test_a_tensor_does_not_travel_home_inside_something_else(
    quietbox2_mesh: MeshDevice, ones: MeshTensor
) -> None:
    with pytest.raises(TypeError, match="keep=True to leave it on the chip"):
        quietbox2_mesh.run(lambda chip, x: {chip.add(x, x)}, ones)
    lives_on(quietbox2_mesh, ones)


def test_a_handle_in_a_closure_is_told_to_be_an_argument(
    quietbox2_mesh: MeshDevice, ones: MeshTensor
) -> None:
    with pytest.raises(TypeError, match="pass it to a program as an argument"):
        quietbox2_mesh.run(lambda chip: chip.all_reduce(ones))


def test_an_array_that_does_not_fit_leaves_nothing_on_the_chips(
    quietbox2_mesh: MeshDevice,
) -> None:
    def used() -> list[int]:
        return [report.dram_used_bytes for report in quietbox2_mesh.reports()]

    gc.collect()
    before = used()
    hog = quietbox2_mesh.run(
        lambda chip: (
            chip.rank == 2
            and chip.dram.allocate(chip.dram.free_bytes // chip.dram.num_banks - 4096, "hog")
        ),
        keep=True,
    )
    with pytest.raises(OutOfMemory) as caught:
        quietbox2_mesh.replicate(np.zeros((256, 256), np.float32))
    assert caught.value.chip == 2
    del hog
    gc.collect()
    assert used() == before


@pytest.mark.slow
def test_twenty_runs_under_load_have_equal_bits_and_times(quietbox2_mesh: MeshDevice) -> None:
    rng = np.random.default_rng(3)
    small, large = (rng.standard_normal((4, n)).astype(np.float32) for n in (1000, 300_000))

    def program(chip: MeshChip, x: Any, y: Any) -> tuple[str, int]:
        start_ps = chip.clock.now_ps
        results = [chip.all_reduce(x), chip.all_reduce(y), chip.reduce_scatter(y, dim=1)]
        results.append(chip.all_gather(results[-1], dim=1))
        digest = hashlib.sha256(b"".join(r.to_numpy().tobytes() for r in results)).hexdigest()
        return digest, chip.clock.now_ps - start_ps

    mesh = quietbox2_mesh
    x, y = mesh.shard(small, 0), mesh.shard(large, 0)
    mesh.run(program, x, y)  # each run now finds the clocks as far apart as the one before
    burn = [sys.executable, "-c", "while True: pass"]
    busy = [subprocess.Popen(burn) for _ in range(2)]
    try:
        answers = [mesh.run(program, x, y) for _ in range(20)]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert all(answer == answers[0] for answer in answers)


# ---------------------------------------------------------------- point to point


def test_tensors_that_nobody_received_are_reported_and_do_no_harm(
    quietbox2_mesh: MeshDevice,
) -> None:
    def careless(chip: MeshChip) -> None:
        if chip.rank == 0:
            for size in (1, 2):
                chip.send(chip.tensor(np.zeros(size, np.float32)), dst=3)
        if chip.rank == 3:
            chip.recv(src=0)

    def careful(chip: MeshChip) -> int:
        if chip.rank == 0:
            chip.send(chip.tensor(np.array([7], np.int32)), dst=3)
        return int(chip.recv(src=0).to_numpy()[0]) if chip.rank == 3 else 0

    with pytest.warns(UnreceivedTensors, match=r"chip 0 sent chip 3 float32 \(2,\) at test_device"):
        quietbox2_mesh.run(careless)
    assert quietbox2_mesh.run(careful) == [0, 0, 0, 7]
