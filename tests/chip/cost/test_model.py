import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshtwin.chip.cost import WORK_KINDS, CostModel, Product, Work, stacks
from meshtwin.chip.errors import InvalidArgument
from meshtwin.chip.spec import load_product

P150 = CostModel(load_product("p150"))
PRODUCTS = ("p100a", "n300", "galaxy_bh")


def matmul(m: int, k: int, n: int, phases: int = 2, tile_bytes: int = 2048) -> Work:
    """A product of whole tiles, operands and result in DRAM."""
    rows, length, columns = m // 32, k // 32, n // 32
    in0, in1, out = (
        tile_bytes * tiles for tiles in (rows * length, length * columns, rows * columns)
    )
    product = Product(rows, length, columns, *(tile_bytes,) * 3, in0, in1, out)
    tiles = rows * columns
    return Work("matmul", 2 * m * k * n, in0 + in1, out, tiles * length, tiles, phases, product)


works = st.builds(
    Work,
    st.sampled_from(WORK_KINDS),
    *(st.integers(0, 10**9),) * 5,
    st.integers(1, 4),
    st.none(),
    st.integers(0, 10**5),
) | st.builds(
    lambda m, k, n, phases, size: matmul(32 * m, 32 * k, 32 * n, phases, size),
    *(st.integers(1, 300),) * 3,
    st.integers(1, 4),
    st.sampled_from((576, 1088, 2048, 4096)),
)


def test_an_op_that_does_nothing_takes_gap_and_start() -> None:
    cost = P150.duration(Work("move", 0, 0, 0, 0, 0))
    expected_us = P150.value["dispatch_gap_us"] + P150.value["kernel_start_clocks"] / 1350
    assert cost.bound == "dispatch"
    assert cost.duration_ps == pytest.approx(expected_us * 10**6, abs=1)


def test_the_bound_is_what_takes_longest() -> None:
    assert P150.duration(matmul(4096, 4096, 4096)).bound == "compute"
    assert P150.duration(matmul(32, 4096, 4096)).bound == "dram"
    assert P150.duration(matmul(32, 32, 32)).bound == "dispatch"


def test_one_row_of_tiles_is_cut_over_cores_by_the_stacks_that_do_so() -> None:
    row = Work("eltwise", 0, 2048 * 128, 2048 * 128, 128, 1)
    rows = dataclasses.replace(row, num_parallel=2)
    for stack in stacks():
        model = CostModel(load_product("p150"), stack)
        cores = model.value["row_cores"]
        whole = 128 * model.value["eltwise_tile_clocks"] / model.value["compute_efficiency"] / 1350
        assert model.compute_us(row) == pytest.approx(whole / cores)
        assert (model.cores(row), model.cores(rows)) == (cores, 2)
        assert model.cores(matmul(32, 4096, 32)) == 1
        assert model.compute_us(rows) == pytest.approx(whole / 2)


def test_a_grid_is_a_stair_since_a_core_has_whole_tiles() -> None:
    def times(work: Work) -> list[int]:
        wide = (dataclasses.replace(P150.spec, grid=(11, rows)) for rows in (8, 10, 11, 15, 16))
        models = (CostModel(spec, changes={"matmul_overlap": 0}) for spec in wide)
        return [model.duration(work).duration_ps for model in models]

    # 32 tile rows: 4 of a core of 8 to 10 rows of cores, 3 of one of 11 to 15, then 2.
    eight, ten, eleven, fifteen, sixteen = times(matmul(32 * 32, 4096, 11 * 32))
    assert eight == ten > eleven == fifteen > sixteen


def test_what_is_read_again_is_read_from_dram_only() -> None:
    once = Work("eltwise", 0, 2**20, 2**20, 64, 8)
    twice = dataclasses.replace(once, again_bytes=2**20)
    assert P150.move_us(twice) == pytest.approx(1.5 * P150.move_us(once))
    inside = dataclasses.replace(twice, l1_bytes=once.bytes)
    assert P150.move_us(inside) == 0


@given(st.integers(2, 64), st.integers(1, 64), st.integers(1, 64), st.floats(0, 1))
def test_a_product_overlaps_feeding_and_computing_as_its_stack_says(
    m: int, k: int, n: int, share: float
) -> None:
    spec, work = load_product("p150"), matmul(32 * m, 32 * k, 32 * n)
    none, some, whole = (
        CostModel(spec, changes={"matmul_overlap": overlap}).duration(work).duration_ps
        for overlap in (0, share, 1)
    )
    assert whole - 1 <= some <= none + 1
    assert none < 2 * whole


def test_fewer_outputs_than_cores_leave_cores_idle() -> None:
    alone = Work("matmul", 0, 0, 0, 64, 1)
    spread = Work("matmul", 0, 0, 0, 64, 64)
    assert P150.compute_us(alone) == pytest.approx(64 * P150.compute_us(spread))


@given(works, st.sampled_from(PRODUCTS), st.sampled_from(stacks()), st.booleans())
def test_time_is_a_whole_number_that_grows_with_the_work(
    work: Work, product: str, stack: str, is_traced: bool
) -> None:
    model = CostModel(load_product(product), stack)
    small = model.duration(work, is_traced)
    more = dataclasses.replace(
        work,
        bytes_read=2 * work.bytes_read,
        num_tile_ops=2 * work.num_tile_ops,
        kv_positions=2 * work.kv_positions,
        product=work.product
        and dataclasses.replace(work.product, n_tiles=2 * work.product.n_tiles),
    )
    assert isinstance(small.duration_ps, int)
    assert model.gap_us * 10**6 <= small.duration_ps <= model.duration(more, is_traced).duration_ps
    assert CostModel(load_product(product), stack).duration(work, is_traced) == small


@given(works, st.sampled_from(PRODUCTS), st.sampled_from(stacks()))
def test_more_of_the_hardware_is_never_slower(work: Work, product: str, stack: str) -> None:
    spec = load_product(product)
    before_ps = CostModel(spec, stack).duration(work).duration_ps
    faster = dataclasses.replace(spec, clock_hz=2 * spec.clock_hz)
    wider = dataclasses.replace(
        spec, dram_bandwidth_bytes_per_s=2 * spec.dram_bandwidth_bytes_per_s
    )
    larger = dataclasses.replace(spec, grid=(2 * spec.grid[0], spec.grid[1]))
    for better in (faster, wider, larger):
        assert CostModel(better, stack).duration(work).duration_ps <= before_ps


RATES = ("fraction", "share", "byte", "cores", "GB/s")
TIMES = ("clock", "us", "ms", "ns", "reshards")
CONSTANTS = [name for name in P150.constants if not re.search("^topk_|_passes$", name)]


def test_a_constant_is_a_rate_or_a_time() -> None:
    for name in CONSTANTS:
        assert P150.constants[name].unit.split()[0] in (*RATES, *TIMES), name


@pytest.mark.parametrize("name", CONSTANTS)
@settings(max_examples=30)
@given(works, st.sampled_from(PRODUCTS), st.sampled_from(stacks()), st.floats(1, 8), st.booleans())
def test_higher_rates_and_shorter_times_are_never_slower(
    name: str, work: Work, product: str, stack: str, factor: float, is_traced: bool
) -> None:
    spec = load_product(product)
    usual = CostModel(spec, stack)
    is_rate = usual.constants[name].unit.split()[0] in RATES
    changes = {name: usual.value[name] * (factor if is_rate else 1 / factor)}
    better = CostModel(spec, stack, changes)
    before_ps = usual.duration(work, is_traced).duration_ps
    assert better.duration(work, is_traced).duration_ps <= before_ps


@given(works)
def test_what_lies_in_l1_costs_no_dram(work: Work) -> None:
    if work.product is None:
        inside = dataclasses.replace(work, l1_bytes=work.bytes)
        assert P150.dram_us(inside) == P150.move_us(inside) == 0
        assert P150.duration(inside).duration_ps <= P150.duration(work).duration_ps


@given(works, st.sampled_from(stacks()))
def test_an_op_that_is_not_traced_takes_at_least_the_hosts_time(work: Work, stack: str) -> None:
    model = CostModel(load_product("p150"), stack)
    host_ps = round(model.host_us * 10**6)
    traced = model.duration(work)
    assert model.duration(work, is_traced=False).duration_ps == max(host_ps, traced.duration_ps)


def test_a_changed_constant_changes_the_time_and_nothing_else() -> None:
    spec, work = load_product("p150"), Work("move", 0, 0, 0, 0, 0)
    slower = CostModel(spec, changes={"dispatch_gap_us": 5.87})
    assert slower.duration(work).duration_ps == P150.duration(work).duration_ps + 5 * 10**6
    assert slower.constants["dispatch_gap_us"].unit == "us"
    with pytest.raises(InvalidArgument, match="did you mean 'dispatch_gap_us'"):
        CostModel(spec, changes={"dispatch_gap": 1})
    with pytest.raises(InvalidArgument, match=r"dispatch_gap_us \(=-1\) must be 0 or more"):
        CostModel(spec, changes={"dispatch_gap_us": -1})
    with pytest.raises(InvalidArgument, match="unknown stack 'tund': did you mean 'tuned'"):
        CostModel(spec, "tund")


def test_a_decode_product_streams_its_weights() -> None:
    quick, slow = (CostModel(load_product("p150"), stack) for stack in ("ttnn", "tt_transformers"))
    work = matmul(32, 4096, 14336, 1, 576)
    read_us = 4096 * 14336 * 576 / 1024 / (512e3 * quick.value["decode_feed_efficiency"])
    us = quick.duration(work).duration_ps / 10**6
    assert us == pytest.approx(read_us + quick.dispatch_ps / 10**6, rel=1e-4)
    extra_us = slow.duration(work).duration_ps / 10**6 - us
    assert extra_us > 2 * slow.value["op_start_us"]  # the reshards


def test_a_product_of_few_rows_is_cut_over_the_columns() -> None:
    # 3 x 110 tiles on 11 x 10 cores: three for each core; cut in two dims it would be ten
    work = matmul(96, 16384, 3520, 4)
    assert work.product
    inside = dataclasses.replace(work.product, in0_dram_bytes=0, in1_dram_bytes=0, out_dram_bytes=0)
    us = P150.duration(dataclasses.replace(work, product=inside)).duration_ps / 10**6
    assert 3 * 512 * 64 / 1350 < us < 10 * 512 * 64 / 1350
