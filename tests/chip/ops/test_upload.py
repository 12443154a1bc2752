import numpy as np
import pytest

from meshtwin.chip.chip import Chip
from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import Layout


@pytest.mark.parametrize(
    ("width", "measured_gb_per_s"), [(8, 0.92), (16, 1.83), (32, 3.64), (64, 7.2), (128, 14.2)]
)
def test_small_pages_reach_what_was_measured(width: int, measured_gb_per_s: float) -> None:
    chip = Chip.open("p150", plan=True)
    rows = 2**26 // (4 * width)  # 64 MiB
    chip.upload(np.broadcast_to(np.float32(0), (rows, width)), layout=Layout.ROW_MAJOR)
    assert 2**26 / chip.clock.now_ps * 1000 == pytest.approx(measured_gb_per_s, rel=0.04)


def test_tiles_come_at_the_rate_of_the_bus() -> None:
    chip = Chip.open("p150", plan=True)
    chip.upload(np.broadcast_to(np.float32(0), (4096, 4096)), DType.BFLOAT16)
    (record,) = chip.recorder.records()
    assert (record.name, record.bytes) == ("upload", 2 * 4096**2)
    assert record.bytes / record.sim_duration_ps * 1000 == pytest.approx(22.7, rel=1e-6)


def test_an_upload_beside_ops_is_hidden_by_them() -> None:
    chip, x = Chip.open("p150"), np.arange(6, dtype=np.float32).reshape(2, 3)
    with chip.beside("host") as pending:
        near = chip.upload(x)
    assert chip.clock.now_ps == 0 < pending.done_ps
    chip.add(chip.full((64, 64), 1.0), 1.0)
    assert pending.wait() == chip.clock.now_ps == chip.recorder.totals()["add"].sim_duration_ps
    assert near.to_numpy().tolist() == x.tolist()
