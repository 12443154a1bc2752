"""The table of ops that Tenstorrent's profiler writes, for tt-perf-report and its like.

A row is an op on a chip, rows in the order of simulated time. All times are simulated, so there is
no HOST START TS: no host took part. The gap before an op of a trace (chip/data/costs.toml:
dispatch_gap_us), which our records count to the op, stands where the profiler has it, in
OP TO OP LATENCY; the rest is the kernel. Columns in capitals are the profiler's own, version 2.1
(tt-perf-report 1.4.1 csv format "v2.1"); SIM columns are whole records in picoseconds.
"""

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...chip.cost import constants
from ...chip.dtype import DType
from ...chip.record import ChipRecords, OpRecord
from ...chip.spec import ChipSpec, load_product
from ...chip.tensor import TILE, Layout, tensor_spec
from ...chip.units import PS_PER_NS, PS_PER_US
from .lanes import FIDELITIES
from .op_codes import op_code

MOST_INPUTS = 4
"""Inputs that have columns; of more, the first ones."""
DIMS = ("W", "Z", "Y", "X")
_DTYPES = {"bfp8_b": "BFLOAT8_B", "bfp4_b": "BFLOAT4_B", "bfp2_b": "BFLOAT2_B"}

Row = dict[str, str | int]


def write_perf_csv(path: str | Path, chips: Sequence[ChipRecords]) -> None:
    """Write the ops of these chips as the CSV of Tenstorrent's profiler.

    Raises:
        OSError: the file cannot be written.
    """
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns(), restval="")
        writer.writeheader()
        writer.writerows(rows(chips))


def columns() -> list[str]:
    """The columns in their order."""
    names = [
        "OP CODE", "OP TYPE", "GLOBAL CALL COUNT", "DEVICE ID", "DEVICE ARCH", "ATTRIBUTES",
        "MATH FIDELITY", "CORE COUNT", "AVAILABLE WORKER CORE COUNT",
        "DEVICE FW DURATION [ns]", "DEVICE KERNEL DURATION [ns]", "OP TO OP LATENCY [ns]",
        "SIM START [ps]", "SIM DURATION [ps]",
    ]  # fmt: skip
    for tensor in [f"INPUT_{place}" for place in range(MOST_INPUTS)] + ["OUTPUT_0"]:
        names += [f"{tensor}_{dim}_PAD[LOGICAL]" for dim in DIMS]
        names += [f"{tensor}_LAYOUT", f"{tensor}_DATATYPE", f"{tensor}_MEMORY"]
    return names


def rows(chips: Sequence[ChipRecords]) -> Iterator[Row]:
    """The rows of all chips by simulated time; of one time, by chip."""
    order = sorted(
        (record.sim_start_ps, chip.rank, index)
        for chip in chips
        for index, record in enumerate(chip.records)
    )
    of_rank = {chip.rank: chip for chip in chips}
    specs = {chip.rank: load_product(chip.product) for chip in chips}
    gap_ps = round(constants()["dispatch_gap_us"].value * PS_PER_US)
    sim_end_ps = {chip.rank: chip.records[0].sim_start_ps for chip in chips if chip.records}
    for count, (_, rank, index) in enumerate(order, start=1):
        record = of_rank[rank].records[index]
        idle_ps = max(0, record.sim_start_ps - sim_end_ps[rank])  # 0 beside the op before it
        sim_end_ps[rank] = max(sim_end_ps[rank], record.sim_end_ps)
        own_gap_ps = 0 if record.bound == "fabric" else min(gap_ps, record.sim_duration_ps)
        kernel_ns = _ns(record.sim_duration_ps - own_gap_ps)
        yield {
            **_identity(record, rank, specs[rank]),
            "GLOBAL CALL COUNT": count,
            "DEVICE FW DURATION [ns]": kernel_ns,
            "DEVICE KERNEL DURATION [ns]": kernel_ns,
            "OP TO OP LATENCY [ns]": _ns(idle_ps + own_gap_ps),
            "SIM START [ps]": record.sim_start_ps,
            "SIM DURATION [ps]": record.sim_duration_ps,
            **_tensors(record, rank),
        }


def _identity(record: OpRecord, rank: int, spec: ChipSpec) -> Row:
    attributes = {"op": record.name, "bound": record.bound, "bytes": record.bytes}
    return {
        "OP CODE": op_code(record),
        "OP TYPE": "tt_dnn_device",
        "DEVICE ID": rank,
        "DEVICE ARCH": spec.arch,
        "ATTRIBUTES": "{" + "; ".join(f"'{key}': '{v}'" for key, v in attributes.items()) + "}",
        "MATH FIDELITY": FIDELITIES[record.fidelity_phases],
        "CORE COUNT": record.num_cores or "",
        "AVAILABLE WORKER CORE COUNT": spec.num_cores,
    }


def _tensors(record: OpRecord, rank: int) -> Row:
    num_inputs = len(record.input_shapes)
    shapes = list(record.input_shapes)
    if record.name == "linear":  # ours keeps weights [N, K]; in the profiler's terms they are K, N
        shapes[1] = shapes[1][::-1]
    found: Row = {}
    for place, shape in enumerate(shapes[:MOST_INPUTS]):
        found |= _tensor(f"INPUT_{place}", shape, record.dtypes[place], rank)
    if record.output_shapes:
        found |= _tensor("OUTPUT_0", record.output_shapes[0], record.dtypes[num_inputs], rank)
    return found


def _tensor(name: str, shape: tuple[int, ...], label: str, rank: int) -> Row:
    """The columns of one tensor: each of four dims as `padded[logical]`; more fold into the first.

    Layout is that which a tensor of this format has unless told otherwise.
    """
    layout = tensor_spec(shape, DType.parse(label)).layout
    logical = (1,) * (4 - len(shape)) + shape
    logical = (math.prod(logical[:-3]), *logical[-3:])
    is_tiled = layout is Layout.TILE
    padded = [
        -(-dim // TILE) * TILE if is_tiled and place > 1 else dim
        for place, dim in enumerate(logical)
    ]
    found: Row = {
        f"{name}_{dim}_PAD[LOGICAL]": f"{pad}[{size}]"
        for dim, pad, size in zip(DIMS, padded, logical, strict=True)
    }
    found[f"{name}_LAYOUT"] = "TILE" if is_tiled else "ROW_MAJOR"
    found[f"{name}_DATATYPE"] = _DTYPES.get(label, label.upper())
    found[f"{name}_MEMORY"] = f"DEV_{rank}_DRAM_INTERLEAVED"
    return found


def _ns(sim_ps: int) -> str:
    """Nanoseconds with the picoseconds as decimals: exact."""
    return f"{sim_ps // PS_PER_NS}.{sim_ps % PS_PER_NS:03d}"
