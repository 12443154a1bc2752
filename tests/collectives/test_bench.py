"""Sizes, bandwidths and expected answers of the benchmark, against numpy on whole arrays."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import decode, encode
from meshtwin.collectives.bench import (
    COLLECTIVES,
    LARGEST,
    REDUCTIONS,
    Array,
    Inputs,
    Row,
    default_iterations,
    gb_per_s,
    shape_of,
    sizes,
    whole_count,
)
from meshtwin.collectives.reduce_op import REDUCIBLE

NUM_RANKS = st.integers(1, 32)
PARTS = st.integers(1, 300)
DTYPES = st.sampled_from(REDUCIBLE)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.integers(2, 9))
def test_sizes_grow_by_the_factor_from_the_smallest_to_the_largest(
    smallest: int, more: int, factor: int
) -> None:
    found = sizes(smallest, smallest + more, factor)
    assert found[0] == smallest
    assert all(b == a * factor for a, b in pairwise(found))
    assert found[-1] <= smallest + more < found[-1] * factor


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ((8, 4, 2), "the smallest size (=8) must not be over the largest (=4)"),
        ((0, 4, 2), "the smallest size (=0) must be 1 byte or more"),
        ((1, 4, 1), "factor (=1) must be 2 or more"),
    ],
)
def test_bounds_without_sizes_are_refused(bounds: tuple[int, int, int], text: str) -> None:
    with pytest.raises(ValueError) as caught:
        sizes(*bounds)
    assert str(caught.value) == text


@given(st.integers(1, 1 << 30), NUM_RANKS, DTYPES)
def test_a_count_cuts_in_equal_parts_and_is_within_the_size(
    size: int, num_ranks: int, dtype: DType
) -> None:
    count = whole_count(size, num_ranks, dtype)
    assert count % num_ranks == 0 < count
    assert count == num_ranks or count * dtype.itemsize <= size
    assert (count + num_ranks) * dtype.itemsize > size


def test_loops_are_twenty_calls_and_fewer_when_a_host_would_work_for_long() -> None:
    assert default_iterations(4096, 4) == default_iterations(1 << 20, 32) == 20
    assert default_iterations(1 << 26, 4) == 4
    assert default_iterations(1 << 30, 32) == 3


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("all_reduce", 1.5),
        ("reduce_scatter", 0.75),
        ("all_gather", 0.75),
        ("all_to_all", 0.75),
        ("broadcast", 1.0),
        ("reduce", 1.0),
        ("gather", 0.75),
        ("scatter", 0.75),
    ],
)
def test_bus_factors_of_four_chips_are_those_of_nccl_tests(name: str, factor: float) -> None:
    assert COLLECTIVES[name].bus_factor(4) == factor


def test_bandwidths_are_size_over_time_and_wall_and_sim_stay_apart() -> None:
    row = Row("all_reduce", 4, 4_000_000, 10**6, "float32", "sum", -1, 20, 2000.0, 1900.0, 100.0, 0)
    assert (row.wall_algbw, row.wall_busbw) == (2.0, 3.0)
    assert (row.sim_algbw, row.sim_busbw) == (40.0, 60.0)
    assert gb_per_s(1, 0.0) == 0.0  # a box of one chip takes no simulated time


def whole_inputs(inputs: Inputs, length: int) -> Array:
    """[num_ranks, length]: what every position puts in."""
    return np.stack([inputs.of(position, 0, length) for position in range(inputs.num_ranks)])


@given(NUM_RANKS, DTYPES, st.sampled_from([None, *REDUCTIONS]))
def test_inputs_and_results_are_exact_in_every_dtype_and_order(
    num_ranks: int, dtype: DType, reduction: str | None
) -> None:
    inputs = Inputs(num_ranks, dtype, reduction)
    given_in = whole_inputs(inputs, 300).astype(np.float64)
    largest = LARGEST if dtype.is_float else min(LARGEST, np.iinfo(dtype.numpy).max)
    assert given_in.min() >= 0
    assert given_in.max() <= largest
    assert np.array_equal(given_in, np.floor(given_in))
    if reduction is not None and reduction != "mean":
        wide = REDUCTIONS[reduction].reduce(given_in)
        assert wide.max() <= largest
        assert np.array_equal(inputs.reduced(0, 300), wide)


@given(NUM_RANKS, st.sampled_from([dtype for dtype in REDUCIBLE if dtype.is_float]))
def test_a_mean_is_the_exact_sum_divided_and_rounded_once(num_ranks: int, dtype: DType) -> None:
    inputs = Inputs(num_ranks, dtype, "mean")
    exact = whole_inputs(inputs, 300).astype(np.float64).mean(0)
    precision = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype.label]
    assert np.all(abs(inputs.reduced(0, 300) - exact) <= 1.01 * precision * exact)


@given(
    NUM_RANKS,
    st.sampled_from([(DType.BFP8_B, None), (DType.FLOAT32, DType.BFP4_B)]),
    st.sampled_from([None, *REDUCTIONS]),
)
def test_inputs_and_sums_of_blocks_are_exact(
    num_ranks: int, formats: tuple[DType, DType | None], reduction: str | None
) -> None:
    dtype, wire = formats
    inputs = Inputs(num_ranks, dtype, reduction, wire)
    given_in = whole_inputs(inputs, 320)
    sums = given_in if reduction is None else REDUCTIONS[reduction].reduce(given_in)[None]
    for values in (given_in, sums):
        rows = values.reshape(-1, 16).astype(np.float32)
        assert np.array_equal(decode(encode(rows, wire or dtype), wire or dtype), rows)


def test_sizes_of_block_floats_are_whole_blocks_in_equal_parts() -> None:
    count = whole_count(1000, 4, DType.BFP8_B)
    assert count == 1000 // 17 // 4 * 4 * 16
    assert DType.BFP8_B.num_bytes(shape_of(count, DType.BFP8_B)) == count // 16 * 17


@given(NUM_RANKS, st.integers(0, 1000), st.integers(0, 1000))
def test_a_stretch_of_an_input_is_a_slice_of_the_whole(
    num_ranks: int, start: int, length: int
) -> None:
    inputs = Inputs(num_ranks, DType.INT32)
    last = num_ranks - 1
    whole = inputs.of(last, 0, start + length)
    assert np.array_equal(inputs.of(last, start, length), whole[start:])


NUMPY: dict[str, Callable[[Array, int, int], Array | None]] = {
    "all_reduce": lambda x, me, root: x.sum(0),
    "reduce_scatter": lambda x, me, root: np.split(x.sum(0), len(x))[me],
    "all_gather": lambda x, me, root: np.concatenate(list(x)),
    "all_to_all": lambda x, me, root: np.concatenate([np.split(row, len(x))[me] for row in x]),
    "broadcast": lambda x, me, root: x[root],
    "reduce": lambda x, me, root: x.sum(0) if me == root else None,
    "gather": lambda x, me, root: np.concatenate(list(x)) if me == root else None,
    "scatter": lambda x, me, root: np.split(x[root], len(x))[me],
}


@pytest.mark.parametrize("name", COLLECTIVES)
@given(NUM_RANKS, PARTS, st.data())
def test_what_is_expected_is_what_numpy_makes_of_all_inputs(
    name: str, num_ranks: int, part: int, data: st.DataObject
) -> None:
    collective = COLLECTIVES[name]
    position, root = (data.draw(st.integers(0, num_ranks - 1)) for _ in range(2))
    inputs = Inputs(num_ranks, DType.FLOAT32, "sum" if collective.operation.reduces else None)
    x = whole_inputs(inputs, part if collective.puts_in_part else part * num_ranks)
    found = collective.expected(inputs, position, root, part * num_ranks)
    wanted = NUMPY[name](x, position, root)
    assert (found is None) == (wanted is None)
    if found is not None and wanted is not None:
        assert np.array_equal(found, wanted)


def test_every_chip_puts_in_something_else() -> None:
    for reduction in (None, "sum", "max"):
        given_in = whole_inputs(Inputs(4, DType.FLOAT32, reduction), 64)
        assert len({tuple(row) for row in given_in.tolist()}) == 4
