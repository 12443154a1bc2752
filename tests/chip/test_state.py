import gc
from dataclasses import replace

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.cost import Work
from meshtwin.chip.dtype import DType
from meshtwin.chip.errors import (
    DTypeError,
    InvalidArgument,
    OpError,
    OutOfMemory,
    ShapeError,
    UnknownProduct,
)
from meshtwin.chip.spec import load_product
from meshtwin.chip.state import Op, Params, Plan
from meshtwin.chip.tensor import Array, Tensor, TensorSpec

calls: list[tuple[int, ...]] = []


def counting_rule(x: TensorSpec) -> Plan:
    calls.append(x.shape)
    return Plan((x,), Work("move", 0, x.nbytes, x.nbytes, 1, 1))


def double(x: Array) -> Array:
    return np.asarray(x * 2)


def explode(x: Array) -> Array:
    raise IndexError("seven")


def test_an_op_computes_records_and_takes_time() -> None:
    chip = Chip.open("p300c", rank=2)
    x = chip.tensor(np.arange(4.0))
    out = chip.run(Op("double", counting_rule, double), (x,))
    assert out.to_numpy().tolist() == [0, 2, 4, 6]
    (record,) = chip.recorder.records()
    assert (record.name, record.input_shapes, record.output_shapes) == ("double", ((4,),), ((4,),))
    assert (record.dtypes, record.bytes) == (("float32", "float32"), 32)
    assert record.sim_start_ps == 0 < record.sim_duration_ps == chip.clock.now_ps


def test_a_plan_is_made_once_for_each_shape_and_parameter() -> None:
    chip = Chip.open("p150")
    op = Op("double", counting_rule, double)
    calls.clear()
    for length in (3, 4, 3, 3, 4):
        chip.run(op, (chip.tensor(np.zeros(length)),))
    assert calls == [(3,), (4,)]


def test_dram_is_freed_when_a_tensor_dies() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.zeros((32, 32)))
    y = chip.add(x, x)
    view = chip.reshape(y, (1, 32, 32))
    tile = 8 * 4096  # one page, and its room in each of the 8 banks
    assert chip.dram.used_bytes == 2 * tile
    assert list(chip.dram.holders()) == [("add", tile), ("tensor", tile)]
    del y
    gc.collect()
    assert chip.dram.used_bytes == 2 * tile  # the view still holds it
    del view, x
    gc.collect()
    assert chip.dram.used_bytes == 0
    assert chip.dram.peak_bytes == 2 * tile


def test_an_op_without_room_for_its_result_says_so_and_changes_nothing() -> None:
    chip = Chip(replace(load_product("p150"), dram_bank_bytes=64 + 2 * 4096), rank=5)
    x = chip.tensor(np.zeros((32, 32)), what="weights")
    y = chip.add(x, x)
    now, used = chip.clock.now_ps, chip.dram.used_bytes
    text = (
        "chip 5: DRAM has no room for 'concat': it needs 32.00 KiB, 4.00 KiB in each of 8 banks, "
        "where 0 B of 8.00 KiB are free. Held by: add 32.00 KiB, weights 32.00 KiB"
    )
    with pytest.raises(OutOfMemory, match=text):
        chip.concat([x, y], 0)
    gc.collect()
    assert (chip.clock.now_ps, chip.dram.used_bytes) == (now, used)
    assert len(chip.recorder.records()) == 1


def test_a_refused_op_names_chip_and_op_and_the_next_one_runs() -> None:
    chip = Chip.open("p150", rank=7)
    x = chip.tensor(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"^chip 7, add: \(2, 3\) with \(2,\)") as shape_error:
        chip.add(x, chip.tensor(np.zeros(2)))
    assert (shape_error.value.chip, shape_error.value.op) == (7, "add")
    with pytest.raises(DTypeError, match="chip 7, silu: x is int32"):
        chip.silu(chip.tensor(np.zeros(2, np.int32)))
    assert chip.clock.now_ps == 0
    assert chip.add(x, x).shape == (2, 3)


def test_an_unforeseen_failure_carries_chip_op_and_cause() -> None:
    chip = Chip.open("p150", rank=7)
    x = chip.tensor(np.zeros(2))
    with pytest.raises(OpError, match="chip 7, boom: IndexError: seven") as caught:
        chip.run(Op("boom", counting_rule, explode), (x,))
    assert isinstance(caught.value.__cause__, IndexError)
    assert chip.clock.now_ps == 0


def test_values_of_another_shape_than_planned_are_an_error() -> None:
    chip = Chip.open("p150")
    with pytest.raises(OpError, match="AssertionError"):
        chip.run(Op("odd", counting_rule, lambda x: x[:1]), (chip.tensor(np.zeros(2)),))


def test_a_tensor_is_a_copy_unless_told_otherwise() -> None:
    chip = Chip.open("p150")
    words = np.full(4, 0x3F80, np.uint16)
    copied = chip.tensor(words, DType.BFLOAT16)
    shared = chip.tensor(words, DType.BFLOAT16, copy=False)
    words[:] = 0
    assert copied.to_numpy().tolist() == [1, 1, 1, 1]
    assert shared.to_numpy().tolist() == [0, 0, 0, 0]
    assert chip.tensor([1, 2]).dtype is DType.INT32
    assert chip.tensor([1.0], "bf16").dtype is DType.BFLOAT16


def test_plan_mode_makes_tensors_without_values() -> None:
    chip = Chip.open("p300c", plan=True)
    x = chip.tensor(np.zeros((2, 3)), DType.BFLOAT16)
    y = chip.empty([3, 4])
    assert x.storage is None and y.storage is None
    out = chip.matmul(x, y)
    assert (out.shape, out.dtype, out.storage) == ((2, 4), DType.BFLOAT16, None)
    assert chip.clock.now_ps > 0


def test_plan_mode_holds_models_larger_than_this_machine() -> None:
    chip = Chip.open("p300c", plan=True)
    held = [chip.empty((1 << 15, 1 << 15), what=f"layer {i}") for i in range(15)]
    assert len(held) * (2 << 30) == chip.dram.used_bytes
    with pytest.raises(OutOfMemory, match=r"'one more': it needs 2.00 GiB, 256.00 MiB in each"):
        chip.empty((1 << 15, 1 << 15), what="one more")


def test_two_runs_of_a_program_take_the_same_simulated_time() -> None:
    def program(chip: Chip) -> list[int]:
        x = chip.tensor(np.ones((1, 40, 64)), DType.BFLOAT16)
        weight = chip.tensor(np.ones((96, 64)), DType.BFLOAT16)
        for _ in range(3):
            chip.silu(chip.linear(x, weight))
        return [record.sim_start_ps for record in chip.recorder.records()] + [chip.clock.now_ps]

    times = program(Chip.open("p300c"))
    assert times == program(Chip.open("p300c", rank=3)) == program(Chip.open("p300c", plan=True))
    assert all(isinstance(time, int) for time in times)
    assert times != program(Chip.open("n150"))


def test_an_unknown_product_cannot_be_opened() -> None:
    with pytest.raises(UnknownProduct):
        Chip.open("p999")


def test_the_mesh_can_add_methods_in_a_subclass() -> None:
    class MeshChip(Chip):
        extra = 1

    assert isinstance(MeshChip.open("p150"), MeshChip)


def test_a_negative_parameter_keeps_its_own_text() -> None:
    chip = Chip.open("p150", rank=1)
    x = chip.tensor(np.ones((1, 4)))
    with pytest.raises(InvalidArgument, match=r"chip 1, rms_norm: eps \(=-1\) must be >= 0"):
        chip.rms_norm(x, chip.tensor(np.ones(4)), -1)


def test_a_tensor_beyond_dram_is_refused_before_the_host_is_asked_for_the_memory() -> None:
    chip = Chip.open("p150")
    with pytest.raises(OutOfMemory, match="'cache'"):
        chip.empty((1 << 40,), what="cache")
    assert chip.dram.used_bytes == 0


class Noting:
    """A watcher that notes what it is told."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.seen: list[tuple[str, int, int, list[str]]] = []

    def ran(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params, outputs: tuple[Tensor, ...]
    ) -> None:
        self.seen.append((op.name, len(inputs), len(outputs), list(self.chip.labels)))

    def communicated(self, request: object, x: Tensor, result: Tensor | None) -> None:
        raise AssertionError("a chip alone has no collectives")


def test_a_watcher_sees_every_op_with_its_scopes() -> None:
    chip = Chip.open("p300c")
    x, cache = chip.tensor(np.ones((1, 1, 2, 32))), chip.empty((1, 1, 8, 32), "float32")
    watcher = chip.watcher = Noting(chip)
    with chip.scope("layer 7"):
        chip.add(x, x)
        with chip.scope("mlp"):
            chip.topk(x, 2)
    chip.update_cache(cache, x, 0)
    chip.watcher = None
    chip.add(x, x)
    assert watcher.seen == [
        ("add", 2, 1, ["layer 7"]),
        ("topk", 1, 2, ["layer 7", "mlp"]),
        ("update_cache", 2, 0, []),
    ]


def test_a_scope_ends_when_an_op_raises() -> None:
    chip = Chip.open("p300c")
    with pytest.raises(ShapeError), chip.scope("outer"):
        chip.add(chip.tensor(np.ones(3)), chip.tensor(np.ones(4)))
    assert chip.labels == []
