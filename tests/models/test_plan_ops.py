"""The ops of a pass, like ones together."""

import pytest

from meshtwin.chip.record import Bound, OpRecord
from meshtwin.models.plan_ops import Peaks, op_rows

PEAKS = Peaks(dram_bytes_per_s=500e9, flops_per_s=600e12, link_bytes_per_s=100e9)
US = 1_000_000


def record(name: str, bound: Bound, sim_us: int, **changes: object) -> OpRecord:
    shapes = ((1, 8, 64), (96, 64)) if name == "linear" else ((1, 8, 64),)
    plain = OpRecord(
        name, shapes, ((1, 8, 96),), ("bfloat16", "bfp8_b"), 0, sim_us * US, 0, 0, bound
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


def test_calls_of_one_shape_are_one_row_and_the_longest_come_first() -> None:
    linear, add = record("linear", "dram", 4), record("add", "dispatch", 6)
    other = add._replace(input_shapes=((1, 9, 64),))
    rows = op_rows([add, linear, linear, other, linear], PEAKS)
    assert [(row.name, row.operands, row.count) for row in rows] == [
        ("linear", "8x64x96 bfp8", 3), ("add", "8x64", 1), ("add", "9x64", 1),
    ]  # fmt: skip
    assert [row.share for row in rows] == pytest.approx([0.5, 0.25, 0.25])


@pytest.mark.parametrize(
    ("of", "utilisation"),
    [
        (record("linear", "dram", 10, bytes=2_500_000), 0.5),
        (record("add", "dispatch", 10, bytes=500_000), 0.1),
        (record("linear", "compute", 10, flops=750_000_000, fidelity_phases=4), 0.5),
        (record("all_reduce", "fabric", 10, bytes=250_000), 0.25),
        (record("all_reduce", "fabric", 10), None),
        (record("rms_norm", "compute", 10, flops=9_000, bytes=500_000), None),
    ],
)
def test_an_op_is_measured_by_what_bounds_it(of: OpRecord, utilisation: float | None) -> None:
    (row,) = op_rows([of], PEAKS)
    assert row.utilisation == (None if utilisation is None else pytest.approx(utilisation))
    assert row.sim_bytes_per_s == pytest.approx(of.bytes / 10e-6)


def test_a_pass_without_ops_has_no_rows() -> None:
    assert op_rows([], PEAKS) == []
