"""Measured matrix products (matmul_p150.csv, matmul_n150.csv): each runs as one `matmul`."""

from ...chip.chip import Chip
from ...chip.compute_config import ComputeConfig, Fidelity
from ...chip.cost import Work
from ...chip.dtype import DType
from ...chip.memory.config import MemoryConfig
from ...chip.spec import load_product, products
from .case import Case, counted
from .place import Free, Place
from .table import Line, shipped

DTYPES = {"BF16": DType.BFLOAT16, "BFP8": DType.BFP8_B, "BFP4": DType.BFP4_B}
STACK = "ttnn"
MODES = ("tuned", "oob")
"""How the program was chosen: for the product, or out of the box."""
THROTTLED_ROWS = 16384
"""Products of more rows throttle: tt-metal tech_reports/GEMM_FLOPS/GEMM_FLOPS.md says so of p150's
20480 rows, and the model does not know power."""

FREE = tuple(
    Free(Place("", arch, f"matmul_{name}"), least, most)
    for arch in ("blackhole", "wormhole_b0")
    for name, least, most in (
        ("start_clocks", 0, 1e5),
        ("unpack_clocks_per_byte", 0, 50),
        ("pack_clocks_per_byte", 0, 1e4),
        ("feed_efficiency", 0.05, 1),
        ("step_clocks", 0, 5000),
        ("write_efficiency", 0.05, 1),
    )
)


def lines() -> list[Line]:
    """The shipped rows."""
    return shipped("matmul_p150.csv") + shipped("matmul_n150.csv")


def case(line: Line) -> Case:
    """The product of a row: columns product, dtype, fidelity, operands_in, M, K, N, traced_us.

    Operands in "L1": in0 and the output lie there, in1 in DRAM. mode and grid (the cores: all of
    the product's) may be left out.

    Raises:
        BadRow: a field is missing or wrong.
    """
    spec = load_product(line.one_of("product", list(products())))
    label = line.one_of("dtype", list(DTYPES))
    fidelity = line.one_of("fidelity", [f.label for f in Fidelity if f is not Fidelity.EXACT])
    where = line.one_of("operands_in", ("L1", "DRAM"))
    m, k, n = (line.integer_of(name) for name in "MKN")
    mode = line.one_of("mode", MODES) if line.text("mode") else "tuned"
    if line.text("grid"):
        line.one_of("grid", ["x".join(map(str, spec.grid))])
    return Case(
        group=f"{spec.name} {label} {where} {mode}",
        label=f"{spec.name} {label} {fidelity} {where} {mode} {m}x{k}x{n}",
        spec=spec,
        stack=STACK,
        measured_us=line.number_of("traced_us"),
        works=_works(spec.name, label, fidelity, where, (m, k, n)),
        note="throttled" if m > THROTTLED_ROWS else "",
    )


def _works(
    product: str, dtype: str, fidelity: str, where: str, sizes: tuple[int, int, int]
) -> tuple[tuple[Work, int], ...]:
    chip = Chip.open(product, plan=True)
    memory = MemoryConfig.L1 if where == "L1" else MemoryConfig.DRAM
    m, k, n = sizes
    in0 = chip.empty((m, k), DTYPES[dtype], memory=memory)
    in1 = chip.empty((k, n), DTYPES[dtype])
    chip.recorder.clear()
    chip.matmul(in0, in1, compute=ComputeConfig(fidelity=Fidelity.parse(fidelity)))
    return counted(chip.recorder.works())[0]
