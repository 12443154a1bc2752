"""Ops on formats that they do not compute in: converted before and after, and charged as stored."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import EXACT
from meshtwin.chip.conversion import COMPUTED, converting
from meshtwin.chip.cost import Work
from meshtwin.chip.dtype import DType
from meshtwin.chip.formats.codec import decode, encode, pack, unpack
from meshtwin.chip.state import Op, Plan
from meshtwin.chip.tensor import Array, Layout, Tensor, TensorSpec

FLOATS = [dtype for dtype in DType if dtype.is_float]
CONVERTED = [dtype for dtype in FLOATS if not dtype.computes]
NUMBERS = np.random.default_rng(5).standard_normal((2, 40, 48)).astype(np.float32)

UNARY: dict[str, Callable[[Chip, Tensor], Any]] = {
    "silu": lambda chip, x: chip.silu(x),
    "softmax": lambda chip, x: chip.softmax(x),
    "add": lambda chip, x: chip.add(x, x),
    "matmul": lambda chip, x: chip.matmul(x, chip.permute(x, (0, 2, 1))),
    "reshape": lambda chip, x: chip.reshape(x, (80, 48)),
    "slice": lambda chip, x: chip.slice(x, (0, 3, 5), (2, 9, 40)),
    "concat": lambda chip, x: chip.concat([x, x], -1),
    "argmax": lambda chip, x: chip.argmax(x),
    "topk": lambda chip, x: chip.topk(x, 5),
}


def tensors(result: Any) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("dtype", CONVERTED, ids=str)
def test_an_op_gives_what_it_gives_in_the_format_it_computes_in_rounded_once_more(
    name: str, dtype: DType
) -> None:
    chip = Chip.open("p150")
    x = chip.tensor(NUMBERS, dtype)
    alike = chip.typecast(x, dtype.computed_as)  # exact
    np.testing.assert_array_equal(alike.to_numpy(), x.to_numpy())
    for found, wide in zip(
        tensors(UNARY[name](chip, x)), tensors(UNARY[name](chip, alike)), strict=True
    ):
        assert found.storage is not None and wide.storage is not None
        assert found.dtype is (dtype if wide.dtype.is_float else wide.dtype)
        wanted = wide.storage
        if wide.dtype.is_float and name != "matmul":
            wanted = pack(wide.storage, dtype)
        if name != "matmul":  # whose second factor was rounded on the way
            assert found.storage.tobytes() == wanted.tobytes()
        assert found.storage.shape == found.spec.storage_shape


@pytest.mark.parametrize("dtype", CONVERTED, ids=str)
def test_plan_mode_says_the_same_of_every_format(dtype: DType) -> None:
    for program in UNARY.values():
        run, plan = Chip.open("p300c"), Chip.open("p300c", plan=True)
        outs = [tensors(program(chip, chip.tensor(NUMBERS, dtype))) for chip in (run, plan)]
        assert [out.spec for out in outs[0]] == [out.spec for out in outs[1]]
        assert all(out.storage is None for out in outs[1])
        assert run.clock.now_ps == plan.clock.now_ps > 0
        assert run.dram.used_bytes == plan.dram.used_bytes


def test_weights_in_bfp8_take_their_bytes_of_dram_and_their_time() -> None:
    def linear(dtype: str) -> tuple[int, int]:
        chip = Chip.open("p150", plan=True)
        weight = chip.empty((4096, 4096), dtype)
        x = chip.empty((32, 4096), "bfloat16")
        assert chip.linear(x, weight).dtype is DType.BFLOAT16
        return weight.padded_bytes, chip.clock.now_ps

    (narrow_bytes, narrow_ps), (wide_bytes, wide_ps) = linear("bfp8_b"), linear("bfloat16")
    assert (narrow_bytes, wide_bytes) == (128 * 128 * 1088, 128 * 128 * 2048)
    assert narrow_ps < wide_ps


def test_weights_in_every_float_format_meet_activations_in_bfloat16() -> None:
    chip = Chip.open("p150")
    x = chip.tensor(NUMBERS[0, :3], "bfloat16")
    for dtype in FLOATS:
        weight = chip.tensor(NUMBERS[1], dtype)
        found = chip.linear(x, weight, compute=EXACT)
        assert found.dtype is DType.BFLOAT16
        exact = x.to_numpy().astype(np.float64) @ weight.to_numpy().astype(np.float64).T
        assert np.abs(found.to_numpy() - exact).max() <= 2.0**-8 * np.abs(exact).max()


@pytest.mark.parametrize("dtype", [DType.BFP8_B, DType.BFP4_B], ids=str)
def test_a_cache_in_a_block_float_takes_bfloat16_and_serves_attention(dtype: DType) -> None:
    chip = Chip.open("p150")
    k, v = chip.zeros((1, 2, 40, 16), dtype), chip.zeros((1, 2, 40, 16), dtype)
    new = chip.tensor(NUMBERS[:1, :6, :32].reshape(1, 6, 2, 16).swapaxes(1, 2), "bfloat16")
    for cache in (k, v):
        chip.update_cache(cache, new, 3)
    rows = decode(encode(new.to_numpy(), dtype), dtype, new.shape)
    assert k.to_numpy()[:, :, 3:9].tolist() == rows.tolist()
    assert not k.to_numpy()[:, :, :3].any()
    q = chip.tensor(NUMBERS[:1, :4, :16].reshape(1, 4, 1, 16), "bfloat16")
    found = chip.attention(q, k, v, 8)
    wide = chip.attention(q, chip.typecast(k, "bfloat16"), chip.typecast(v, "bfloat16"), 8)
    assert found.to_numpy().tolist() == wide.to_numpy().tolist()


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT16, DType.UINT16], ids=str)
def test_small_integers_are_added_as_large_ones_and_wrap(dtype: DType) -> None:
    chip = Chip.open("p150")
    numbers = np.array([np.iinfo(dtype.numpy).max, 1], dtype.numpy)
    x = chip.tensor(numbers, dtype)
    assert chip.add(x, x).to_numpy().tolist() == (numbers + numbers).tolist()


def test_tensors_and_typecast_round_as_they_are_told() -> None:
    chip = Chip.open("p150")
    tie = np.full((1, 16), 1 + 2.0**-8, np.float32)
    x = chip.tensor(tie)
    for rounding, wanted in (("nearest_even", 1.0), ("packer", 1 + 2.0**-7)):
        assert chip.tensor(tie, "bfloat16", rounding=rounding).to_numpy()[0, 0] == wanted
        assert chip.typecast(x, "bfloat16", rounding).to_numpy()[0, 0] == wanted
    assert chip.typecast(x, "bfp8_b").to_numpy()[0, 0] == 1.0


def double(x: Array) -> Array:
    return np.asarray(x * 2)


def same_rule(x: TensorSpec) -> Plan:
    return Plan((x,), Work("move", 0, x.nbytes, x.nbytes, 1, 1))


def test_an_op_gets_packed_storage_if_it_says_so_and_where() -> None:
    seen: list[np.dtype[Any]] = []

    def values(x: Array, weight: Array) -> Array:
        seen.extend((x.dtype, weight.dtype))
        return x

    def rule(x: TensorSpec, weight: TensorSpec) -> Plan:
        return same_rule(x)

    chip = Chip.open("p150")
    x = chip.tensor(np.ones((2, 16)), DType.BFP8_B)
    packed = Op("first", rule, values, native=(COMPUTED, COMPUTED | {DType.BFP8_B}))
    out = chip.run(packed, (x, x))
    assert seen == [np.uint16, np.uint8]
    assert out.to_numpy().tolist() == x.to_numpy().tolist()
    seen.clear()
    chip.run(Op("second", rule, values), (x, x))
    assert seen == [np.uint16, np.uint16]


def test_formats_that_ops_compute_in_go_past_the_conversions() -> None:
    chip = Chip.open("p150")
    for dtype in sorted(COMPUTED, key=str):
        spec = chip.tensor(np.ones(3, np.int32), dtype).spec
        assert converting(double, COMPUTED, False, (spec,), (spec,)) is double
    spec = chip.tensor(np.ones(3, np.int32), DType.INT8, Layout.TILE).spec
    assert converting(double, COMPUTED, True, (spec,), (spec,)) is double
    assert converting(double, COMPUTED, False, (spec,), (spec,)) is not double


def test_unpacking_gives_the_storage_itself_where_nothing_is_to_be_done() -> None:
    x = np.ones(4, np.float32)
    for dtype in (DType.FLOAT32, DType.TF32):
        assert unpack(x, dtype, (4,)) is x
