"""Measured collectives (collectives/data/collectives.csv), beside the simulator's times.

Their constants are fitted by the collectives' own search: see collectives/calibrate.py.
"""

from importlib.resources import files

from ...chip.spec import load_product
from ...collectives.calibrate import Costs, shipped_costs
from ...collectives.measured import Row, predict_us, row_of
from .case import Case
from .table import Line, parse

PRODUCTS = {"blackhole": "galaxy_bh", "wormhole_b0": "n150"}


def lines() -> list[Line]:
    """The shipped rows."""
    path = files("meshtwin.collectives") / "data" / "collectives.csv"
    return list(parse(path.name, path.read_text(encoding="utf-8")))


def row(line: Line) -> Row:
    """The measured collective of a row: columns of collectives.csv.

    Raises:
        BadRow: a field is missing or wrong.
    """
    line.one_of("arch", list(PRODUCTS))
    for name in ("n_devices", "links_per_direction", "fabric_packet_B", "total_tensor_bytes"):
        line.integer_of(name)
    for name in ("line_rate_GBps_per_link_dir", "kernel_time_us"):
        line.number_of(name)
    try:
        return row_of(line.fields)
    except (KeyError, ValueError) as error:
        raise line.bad(str(error)) from error


def case(line: Line, costs: Costs | None = None) -> Case:
    """The collective of a row, under the shipped constants or others. Raises as `row`."""
    found = row(line)
    arch = found.family.arch
    return Case(
        group=str(found.family),
        label=str(found),
        spec=load_product(PRODUCTS[arch]),
        stack="ttnn",
        measured_us=found.measured_us,
        fixed_us=predict_us(found, (costs or shipped_costs())[arch]),
        features={"chips": found.family.num_ranks, "bytes": found.total_bytes},
    )
