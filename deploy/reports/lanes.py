"""How a trace shows a chip: an op lies in the lane of what its time went into, with its details."""

from collections.abc import Mapping, Sequence

from ...chip.record import Bound, ChipRecords, OpRecord
from ...chip.units import PS_PER_NS

LANES: Mapping[Bound, str] = {
    "compute": "compute",
    "dram": "DRAM",
    "dispatch": "dispatch",
    "fabric": "fabric (links)",
}
FIDELITIES = ("", "LoFi", "HiFi2", "HiFi3", "HiFi4")
"""Names by the number of passes of the multiplier."""

Details = dict[str, str | int]


def title(chip: ChipRecords, chips: Sequence[ChipRecords]) -> str:
    """The name of a chip's group of lanes; ranks of a trace are as wide, since names are sorted."""
    width = len(str(max(other.rank for other in chips)))
    dropped = f", {chip.num_dropped} older ops dropped" if chip.num_dropped else ""
    return f"chip {chip.rank:0{width}} ({chip.product}), simulated time{dropped}"


def lane_ids(rank: int) -> dict[Bound, int]:
    """Thread numbers of a chip's lanes: no two of a trace are the same, and none is 0."""
    first = (rank + 1) * 10
    return {bound: first + place for place, bound in enumerate(LANES)}


def process_id(rank: int) -> int:
    """The process number of a chip: one more than its rank, for process 0 is the idle one."""
    return rank + 1


def details(record: OpRecord) -> Details:
    """What a trace says of an op beside its name and its start: the same each time it runs."""
    split = len(record.input_shapes)
    found: Details = {
        "inputs": _tensors(record.input_shapes, record.dtypes[:split]),
        "outputs": _tensors(record.output_shapes, record.dtypes[split:]),
        "bytes": record.bytes,
        "flops": record.flops,
        "bound": record.bound,
        "sim_duration_ps": record.sim_duration_ps,
    }
    if record.num_cores:
        found["cores"] = record.num_cores
    if record.fidelity_phases:
        found["fidelity"] = FIDELITIES[record.fidelity_phases]
    if record.group:
        found["chips"] = ", ".join(map(str, record.group))
    return found


def whole_ns(sim_ps: int) -> int:
    """A time as a trace in nanoseconds has it: rounded down, so ops that touch still touch."""
    return sim_ps // PS_PER_NS


def _tensors(shapes: tuple[tuple[int, ...], ...], dtypes: tuple[str, ...]) -> str:
    pairs = zip(shapes, dtypes, strict=False)  # a collective without a result names its format too
    return "; ".join(f"{list(shape)} {dtype}" for shape, dtype in pairs)
