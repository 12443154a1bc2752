"""The profiler's table: exact sums, and the real tt-perf-report finds the same ops and times."""

import csv
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given

from meshtwin.chip.record import ChipRecords, OpRecord
from meshtwin.deploy.reports.op_codes import op_code
from meshtwin.deploy.reports.perf_csv import columns, rows, write_perf_csv

from .runs import Run, few, runs, sample

GAP, KERNEL = "OP TO OP LATENCY [ns]", "DEVICE KERNEL DURATION [ns]"
LIMIT_S = 120.0


def written(folder: Path, run: Run) -> list[dict[str, str]]:
    path = folder / "ops.csv"
    write_perf_csv(path, run.chips)
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        table = list(reader)
    assert reader.fieldnames == columns()
    return table


def total_ps(table: list[dict[str, str]], name: str) -> int:
    return int(sum(Decimal(row[name]) for row in table) * 1000)


@few
@given(run=runs())
def test_gaps_and_kernels_of_a_chip_are_its_time(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = written(tmp_path_factory.mktemp("csv"), run)
    assert len(table) == sum(map(len, run.records))
    for rank, records in enumerate(run.records):
        own = [row for row in table if row["DEVICE ID"] == str(rank)]
        assert [row["OP CODE"] for row in own] == [op_code(record) for record in records]
        assert [int(row["SIM DURATION [ps]"]) for row in own] == [
            record.sim_duration_ps for record in records
        ]
        assert total_ps(own, GAP) + total_ps(own, KERNEL) == run.now_ps(rank)
        assert all(Decimal(row[GAP]) >= 0 for row in own)


@few
@given(run=runs())
def test_rows_are_in_the_order_of_simulated_time(
    run: Run, tmp_path_factory: pytest.TempPathFactory
) -> None:
    table = written(tmp_path_factory.mktemp("csv"), run)
    starts = [int(row["SIM START [ps]"]) for row in table]
    assert starts == sorted(starts)
    assert [int(row["GLOBAL CALL COUNT"]) for row in table] == list(range(1, len(table) + 1))


def test_a_product_has_padded_shapes_formats_and_fidelity(tmp_path: Path) -> None:
    row = written(tmp_path, sample())[0]
    first = [row[f"INPUT_0_{dim}_PAD[LOGICAL]"] for dim in "WZYX"]
    assert first == ["1[1]", "1[1]", "64[40]", "64[64]"]
    assert [row[f"INPUT_1_{dim}_PAD[LOGICAL]"] for dim in "YX"] == ["64[64]", "96[96]"]  # K, N
    assert [row[f"OUTPUT_0_{dim}_PAD[LOGICAL]"] for dim in "YX"] == ["64[40]", "96[96]"]
    assert (row["OP CODE"], row["MATH FIDELITY"]) == ("MatmulDeviceOperation", "HiFi2")
    assert (row["INPUT_0_DATATYPE"], row["INPUT_0_LAYOUT"]) == ("BFLOAT16", "TILE")
    assert (row["CORE COUNT"], row["AVAILABLE WORKER CORE COUNT"]) == ("8", "110")
    assert (row["DEVICE ARCH"], row[GAP], row[KERNEL]) == ("blackhole", "870.000", "1531.111")


def test_tensors_of_any_number_of_dims_have_four() -> None:
    shapes = ((2, 3, 4, 5, 6), (), (7,))
    record = OpRecord("conjure", shapes, (), ("float32", "int32", "uint32"), 0, 9, 0, 0, "dram")
    (row,) = rows([ChipRecords(0, "p150", (record,))])
    dims = [[row[f"INPUT_{i}_{dim}_PAD[LOGICAL]"] for dim in "WZYX"] for i in range(3)]
    assert dims == [
        ["6[6]", "4[4]", "32[5]", "32[6]"],
        ["1[1]", "1[1]", "1[1]", "1[1]"],
        ["1[1]", "1[1]", "1[1]", "7[7]"],
    ]
    assert [row[f"INPUT_{i}_LAYOUT"] for i in range(3)] == ["TILE", "ROW_MAJOR", "ROW_MAJOR"]


def test_attention_of_one_position_is_the_decode_op() -> None:
    def code(positions: int, name: str = "attention") -> str:
        shape = (1, 8, positions, 64)
        return op_code(OpRecord(name, (shape,), (), ("float32",), 0, 1, 0, 0, "dram"))

    assert (code(1), code(7)) == ("SdpaDecodeDeviceOperation", "SDPAOperation")
    assert code(9, "scaled_dot_product_attention_decode") == code(1)


@pytest.mark.slow
def test_tt_perf_report_finds_the_same_ops_and_times(tmp_path: Path) -> None:
    pytest.importorskip("tt_perf_report")
    run = sample()
    write_perf_csv(tmp_path / "ops.csv", run.chips)
    code = "import sys; from tt_perf_report.perf_report import main; sys.exit(main())"
    options = ["--no-merge-devices", "--no-color", "--raw-op-codes", "--no-summary"]
    done = subprocess.run(
        [sys.executable, "-c", code, "ops.csv", *options, "--csv", "report.csv"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Architecture: blackhole, Worker cores: 110" in done.stdout
    with (tmp_path / "report.csv").open(encoding="utf-8", newline="") as file:
        report = list(csv.DictReader(file))
    for rank, records in enumerate(run.records):
        own = [row for row in report if float(row["Device"]) == rank]
        assert Counter(row["Raw OP Code"] for row in own) == Counter(map(op_code, records))
        kernels_us = sum(float(row["Device Time"] or 0) for row in own)
        gaps_us = sum(float(row["Op-to-Op Gap"] or 0) for row in own)
        first_us = 0.87 if rank == 0 else 0.0  # the tool leaves out the gap before the first row
        sim_us = sum(record.sim_duration_ps for record in records) / 1e6
        assert kernels_us + gaps_us + first_us == pytest.approx(sim_us, abs=1e-9)
    product = next(row for row in report if "Matmul" in row["Raw OP Code"])
    assert product["OP Code"] == "MatmulDeviceOperation 64 x 64 x 96"
    assert float(product["FLOPs"]) == pytest.approx(2 * 64 * 64 * 96 / 1531.111 / 1e3)
