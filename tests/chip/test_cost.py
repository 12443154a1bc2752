"""Measured times: tt-metal tech_reports/GEMM_FLOPS/GEMM_FLOPS.md 06bd3735 (p150, traced)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshtwin.chip.cost import WORK_KINDS, CostModel, Work, WorkKind, constants
from meshtwin.chip.spec import load_product

P150 = CostModel(load_product("p150"))


def matmul(m: int, k: int, n: int, phases: int = 2) -> Work:
    """A bfloat16 product of whole tiles, operands and result in DRAM."""
    tiles = m // 32 * (n // 32)
    return Work(
        "matmul", 2 * m * k * n, 2 * (m * k + k * n), 2 * m * n, tiles * k // 32, tiles, phases
    )


@pytest.mark.parametrize(
    ("shape", "measured_us"),
    [
        ((640, 704, 704), 15.705),
        ((1280, 1408, 1408), 41.366),
        ((1280, 2816, 2816), 108.106),
        ((2560, 4224, 4224), 392.005),
        ((3840, 5632, 5632), 1019.049),
        ((5120, 5632, 5632), 1356.115),
    ],
    ids=str,
)
def test_matmuls_on_p150_take_about_what_was_measured(
    shape: tuple[int, int, int], measured_us: float
) -> None:
    # the smallest is 28 % too fast (a matmul starts slower than the ops `start` is from), the rest
    # are within 17 %
    cost = P150.duration(matmul(*shape))
    assert cost.duration_ps / 10**6 == pytest.approx(measured_us, rel=0.3)


def test_an_op_that_does_nothing_takes_gap_and_start() -> None:
    cost = P150.duration(Work("move", 0, 0, 0, 0, 0))
    values = {name: constant.value for name, constant in constants().items()}
    start_us = values["kernel_start_clocks"] / 1350
    expected_us = values["dispatch_gap_us"] + start_us
    assert cost.bound == "dispatch"
    assert cost.duration_ps == pytest.approx(expected_us * 10**6, abs=1)


def test_constants_can_be_changed_for_one_model() -> None:
    nothing = Work("move", 0, 0, 0, 0, 0)
    changed = CostModel(load_product("p150"), changes={"dispatch_gap_us": 5.0})
    gap_us = P150.constants["dispatch_gap_us"].value
    difference_ps = changed.duration(nothing).duration_ps - P150.duration(nothing).duration_ps
    assert difference_ps == pytest.approx((5 - gap_us) * 10**6, abs=1)
    assert changed.constants["dispatch_gap_us"].value == 5
    assert P150.constants == constants()


def test_the_bound_is_what_takes_longest() -> None:
    assert P150.duration(matmul(4096, 4096, 4096)).bound == "compute"
    assert P150.duration(matmul(32, 4096, 4096)).bound == "dram"
    assert P150.duration(matmul(32, 32, 32)).bound == "dispatch"


def test_fewer_outputs_than_cores_leave_cores_idle() -> None:
    alone = Work("matmul", 0, 0, 0, 64, 1)
    spread = Work("matmul", 0, 0, 0, 64, 64)
    assert P150.compute_ps(alone) == pytest.approx(64 * P150.compute_ps(spread), abs=64)


@given(
    st.sampled_from(WORK_KINDS),
    st.lists(st.integers(0, 10**9), min_size=5, max_size=5),
    st.integers(1, 4),
    st.sampled_from(["p100a", "n300", "galaxy_bh"]),
)
def test_time_is_a_whole_number_that_grows_with_the_work(
    kind: WorkKind, sizes: list[int], phases: int, product: str
) -> None:
    flops, read, written, tiles, parallel = sizes
    model = CostModel(load_product(product))
    small = model.duration(Work(kind, flops, read, written, tiles, parallel, phases))
    large = model.duration(Work(kind, flops, 2 * read, 2 * written, 2 * tiles, parallel, phases))
    assert isinstance(small.duration_ps, int)
    assert model.dispatch_ps <= small.duration_ps <= large.duration_ps
    again = CostModel(load_product(product))
    assert again.duration(Work(kind, flops, read, written, tiles, parallel, phases)) == small
