"""The memory of a chip as its ops see it: who takes what, and reads of what is not there."""

import gc

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.cost import Work
from meshtwin.chip.errors import (
    CircularBufferClash,
    InvalidArgument,
    OutOfMemory,
    ShapeError,
    UninitializedRead,
    UseAfterFree,
)
from meshtwin.chip.memory.config import Buffer, MemoryConfig, MemoryLayout, ShardSpec, core_grid
from meshtwin.chip.state import Op, Plan
from meshtwin.chip.tensor import Layout, TensorSpec

SHARDED = MemoryConfig(Buffer.L1, MemoryLayout.HEIGHT_SHARDED, ShardSpec(core_grid(4, 2), (32, 64)))


def test_an_output_lies_where_its_first_input_lies() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.ones((8 * 32, 64)), memory=SHARDED)
    assert chip.l1.used_bytes == 110 * 2 * 4096
    doubled, lower = chip.add(x, x), chip.slice(x, (0, 0), (32, 64))
    assert doubled.memory is SHARDED
    assert lower.memory is MemoryConfig.L1  # shards of another shape would be others
    assert chip.add(chip.tensor(np.ones(3)), chip.tensor(np.ones(3))).memory is MemoryConfig.DRAM


def test_to_memory_config_copies_and_keeps_the_values() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.arange(8 * 32 * 64.0).reshape(8, 32, 64))
    y = chip.to_memory_config(x, SHARDED)
    assert (y.memory, y.allocation is x.allocation) == (SHARDED, False)
    assert np.array_equal(y.to_numpy(), x.to_numpy())
    assert chip.to_memory_config(y, SHARDED) is y
    assert len(chip.recorder.records()) == 1
    with pytest.raises(ShapeError, match=r"chip 0, to_memory_config: float32\[3, 5\] in height_"):
        chip.to_memory_config(chip.tensor(np.ones((3, 5))), SHARDED)


def test_a_reshaped_sharded_tensor_is_a_copy() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(np.ones((8, 32, 64)), memory=SHARDED)
    view = chip.reshape(chip.to_memory_config(x, MemoryConfig.L1), (256, 64))
    assert chip.reshape(x, (256, 64)).allocation is not x.allocation
    assert view.memory is MemoryConfig.L1


def test_l1_is_full_long_before_dram_and_says_so() -> None:
    chip = Chip.open("p150", plan=True)
    held = chip.empty((110 * 32, 32 * 700), memory=MemoryConfig.L1, what="activations")
    assert held.allocation is not None and held.allocation.nbytes == 700 * 2048
    text = r"L1 has no room for 'more': .* in each of 110 cores, .*Held by: activations 150.39 MiB"
    with pytest.raises(OutOfMemory, match=text):
        chip.empty((110 * 32, 32 * 14), memory=MemoryConfig.L1, what="more")
    chip.empty((110 * 32, 32 * 13), memory=MemoryConfig.L1)


def test_memory_that_nobody_wrote_reads_as_poison_and_zeros_as_zeros() -> None:
    chip = Chip.open("p150")
    for dtype in ("float32", "bfloat16", "float16"):
        assert np.isnan(chip.empty((3, 4), dtype).to_numpy()).all()
    pattern = {"uint32": 0xDEADBEEF, "int32": 0xDEADBEEF - (1 << 32), "uint8": 0xEF, "int8": -17}
    for dtype, word in pattern.items():
        assert set(chip.empty((3, 4), dtype).to_numpy().ravel().tolist()) == {word}
    assert not chip.zeros((3, 4), "float32").to_numpy().any()
    assert not chip.zeros((3, 4), "int32").to_numpy().any()
    assert Chip.open("p150", plan=True).zeros((3, 4)).storage is None


@pytest.mark.parametrize("plan", [False, True])
def test_a_freed_tensor_and_its_views_cannot_be_used(plan: bool) -> None:
    chip = Chip.open("p150", rank=2, plan=plan)
    x = chip.tensor(np.ones((1, 4)), what="scores")
    view = chip.reshape(x, (1, 1, 4))
    chip.free(x)
    assert chip.dram.used_bytes == 0
    for tensor in (x, view):
        with pytest.raises(
            UseAfterFree, match=r"chip 2, silu: 'scores' float32\[1, .*4\] was freed"
        ):
            chip.silu(tensor)
        with pytest.raises(UseAfterFree, match="'scores'"):
            tensor.to_numpy()
    chip.free(view)  # a second time does nothing
    y = chip.tensor(np.ones((1, 4)))
    with pytest.raises(UseAfterFree, match="topk"):
        chip.topk(x, 1)
    assert chip.add(y, y).shape == (1, 4)


def test_in_checked_mode_a_read_of_what_nobody_wrote_names_tensor_and_op() -> None:
    chip = Chip.open("p150", rank=1, checked=True)
    x = chip.empty((2, 3), what="scratch")
    with pytest.raises(UninitializedRead) as caught:
        chip.add(x, x)
    error = caught.value
    assert (error.chip, error.op, error.num_elements, error.num_unwritten) == (1, "add", 6, 6)
    assert error.tensor == "'scratch' bfloat16[2, 3]"
    assert np.isnan(Chip.open("p150").add(x, x).to_numpy()).all()  # no error without the mode
    chip.add(chip.zeros((2, 3)), chip.zeros((2, 3)))


@pytest.mark.parametrize("plan", [False, True])
def test_a_cache_may_be_read_as_far_as_it_was_written(plan: bool) -> None:
    chip = Chip.open("p150", plan=plan, checked=True)
    keys, values = (chip.empty((1, 2, 8, 16), what=what) for what in ("keys", "values"))
    q, new = chip.zeros((1, 2, 1, 16)), chip.zeros((1, 2, 3, 16))
    chip.update_cache(keys, new, 0)
    with pytest.raises(UninitializedRead, match=r"attention: reads 96 elements of 'values'"):
        chip.attention(q, keys, values, 2)
    chip.update_cache(values, new, 0)
    chip.attention(q, keys, values, 2)
    with pytest.raises(UninitializedRead, match=r"128 elements of 'keys'.* written 32"):
        chip.attention(q, keys, values, 3)
    view = chip.reshape(keys, (2, 1, 8, 16))
    with pytest.raises(UninitializedRead, match="slice"):
        chip.slice(view, (0, 0, 0, 0), (2, 1, 3, 16))


def test_in_checked_mode_rows_never_written_are_not_written_by_freed_memory() -> None:
    chip = Chip.open("p150", checked=True)
    written = chip.tensor(np.ones((2, 3)))
    del written
    gc.collect()
    with pytest.raises(UninitializedRead):
        chip.silu(chip.empty((2, 3)))


def greedy_op(nbytes: int) -> Op:
    """An op whose circular buffers take `nbytes` of every core."""

    def rule(x: TensorSpec) -> Plan:
        return Plan((x,), Work("move", 0, x.nbytes, x.nbytes, 1, 1), nbytes)

    return Op("greedy", rule, lambda x: x.copy())


def test_circular_buffers_and_tensors_of_l1_clash_where_they_meet() -> None:
    chip = Chip.open("p150", rank=4)
    x = chip.tensor(np.ones((32, 32)))
    room = 1_461_120
    chip.run(greedy_op(room), (x,))
    scores = chip.zeros((32, 32), memory=MemoryConfig.L1, what="scores")
    chip.run(greedy_op(room - 2048), (x,))
    now = chip.clock.now_ps
    text = rf"chip 4, greedy: .* tensor 'scores' in L1 begins at {1_572_864 - 2048}: 64 B too many"
    for op in (chip.run, chip.run_many):
        with pytest.raises(CircularBufferClash, match=text):
            op(greedy_op(room - 2048 + 64), (x,))
    assert chip.clock.now_ps == now
    del scores
    chip.run(greedy_op(room - 2048 + 64), (x,))
    with pytest.raises(CircularBufferClash, match="L1 ends at 1572864: 64 B too many"):
        chip.run(greedy_op(room + 64), (x,))


def test_the_output_of_an_op_in_l1_may_clash_with_its_own_buffers() -> None:
    chip = Chip.open("p150", plan=True)
    x = chip.empty((110 * 32, 32 * 340), memory=MemoryConfig.L1, what="x")
    with pytest.raises(CircularBufferClash, match=r"tensor 'greedy' in L1 begins"):
        chip.run(greedy_op(100_000), (x,))
    assert chip.l1.used_bytes == 110 * 340 * 2048


def test_products_and_attention_state_circular_buffers() -> None:
    chip = Chip.open("p150", plan=True)
    x = chip.empty((1, 1, 256, 2048))
    hog = chip.empty((110 * 32, 32 * 700), memory=MemoryConfig.L1, what="hog")
    with pytest.raises(CircularBufferClash, match=r"linear: .* 'hog'"):
        chip.linear(x, chip.empty((2048, 2048)))
    cache = chip.empty((1, 8, 4096, 128))
    with pytest.raises(CircularBufferClash, match=r"attention: .* 'hog'"):
        chip.attention(chip.empty((1, 32, 256, 128)), cache, cache, 0)
    chip.free(hog)
    chip.linear(x, chip.empty((2048, 2048)))


def test_a_report_covers_both_memories() -> None:
    chip = Chip.open("p150", rank=3)
    weights = chip.tensor(np.ones((64, 32)), what="weights")
    scores = chip.zeros((32, 32), memory=MemoryConfig.L1, what="scores")
    report = chip.memory_report()
    assert (report.chip, report.product) == (3, "p150")
    assert (report.dram.num_banks, report.l1.num_banks) == (8, 110)
    assert report.dram.holders == (("weights", 4096),)
    assert report.l1.holders == (("scores", 2048),)
    assert [block.what for block in report.dram.blocks] == ["weights", ""]
    assert [block.what for block in report.l1.blocks] == ["", "scores"]
    assert report.l1.peak_bytes == report.l1.used_bytes == 2048
    assert report.as_dict()["l1"]["blocks"][1]["address"] == 1_572_864 - 2048
    assert (weights.shape, scores.shape) == ((64, 32), (32, 32))


def test_pages_of_a_tensor_lie_where_the_footprint_says() -> None:
    chip = Chip.open("p150")
    row_major = chip.tensor(np.ones((9, 5)), "bfloat16", Layout.ROW_MAJOR)
    assert [place.bank for place in chip.footprint(row_major.spec).places()] == [*range(8), 0]
    with pytest.raises(InvalidArgument, match="page 9"):
        chip.footprint(row_major.spec).place(9)
