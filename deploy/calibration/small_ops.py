"""Measured device times of single ops (ops.csv), each beside the same op on the same shapes.

The rows name ops and the model, not shapes; these follow from the model and from how it is cut:

Gemma4-31B prefill, Blackhole Galaxy, 8 chips of context by 4 of tensors, M tokens a chip. Rows of
products give the widths: D = 5376; 21504 / 4 = 5376 of the MLP; a global layer has 8 query heads
of 512 and one of keys, which serve as values (5376 x 4608 and 4096 x 5376); a local one 8 of 256,
with 4 of keys and 4 of values.
- LayerNorm: four of [M, D] (before and after attention and MLP), and one of each head of q and k
  (local: of v, too).
- BinaryNg: two residuals and gate times up, [M, D] each; the scale of the layer, [M, D] by a
  number; what is left of n is on small tables.
- Unary: the activation of the gate, [M, D]. NlpCreateHeads: 8 heads beside keys and values.
  NLPConcatHeads: 8 heads of 512.
- Matmul: as named, bfp8 weights, HiFi2 (what ttnn chooses); a model's own stack, which does not
  overlap as a benchmark does.

Llama-3-70B decode of 32 users, Wormhole Galaxy, 8 x 4 chips: tensors lie in L1, cut over cores.
- LM_head_Matmul: D / 4 = 2048 by 128256 / 8 columns of the vocabulary, bfp8.
- Last_Residual_add: [32, D / 4]. Binary_Mult_Silu: [32, 28672 / 8 / 4], after the reduce_scatter.
- RotaryEmbeddingLlamaFusedQK, PagedUpdateCache: a group of 8 chips holds the cache of 8 users
  each, with 8 query heads and one of keys of 128: [1, 8, 8 (of 32), 128].
- TopK: 32 users of 128256 / 8 columns, k 32.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ...chip.chip import Chip
from ...chip.compute_config import ComputeConfig, Fidelity
from ...chip.dtype import DType
from ...chip.memory.config import MemoryConfig
from ...chip.spec import load_product
from .case import Case, counted
from .place import Free, Place
from .table import Line, shipped

D = 5376


class Setting(NamedTuple):
    """What a row says beside the op's name: tokens a chip, the kind of layer, ops summed."""

    m: int
    is_global: bool
    num_ops: int


Run = Callable[[Chip, Setting], None]
"""Runs a row's ops on a chip."""

FREE = (
    Free(Place("", "any", "core_bytes_per_clock"), 1, 64),
    Free(Place("", "any", "kernel_start_clocks"), 0, 10000),
    Free(Place("tt_transformers", "blackhole", "matmul_compute_share"), 0.05, 1),
)


def _layer_norm(chip: Chip, at: Setting) -> None:
    wide, head = chip.empty((D,)), 512 if at.is_global else 256
    for _ in range(4):
        chip.rms_norm(chip.empty((1, 1, at.m, D)), wide)
    for heads in (8, 1) if at.is_global else (8, 4, 4):
        chip.rms_norm(chip.empty((1, heads, at.m, head)), chip.empty((head,)))


def _binary(chip: Chip, at: Setting) -> None:
    x = chip.empty((1, 1, at.m, D))
    for _ in range(3):
        chip.add(x, x)
    chip.mul(x, 0.5)
    small = chip.empty((32, 32))
    for _ in range(at.num_ops - 4):
        chip.add(small, small)


def _unary(chip: Chip, at: Setting) -> None:
    chip.gelu(chip.empty((1, 1, at.m, D)), approximate="tanh")


def _create_heads(chip: Chip, at: Setting) -> None:
    chip.create_heads(chip.empty((1, at.m, 10 * 512)), 8, 1)


def _concat_heads(chip: Chip, at: Setting) -> None:
    chip.concat_heads(chip.empty((1, 8, at.m, 512)))


def _product(k: int, n: int) -> Run:
    def run(chip: Chip, at: Setting) -> None:
        x, weight = chip.empty((at.m, k)), chip.empty((k, n), DType.BFP8_B)
        for _ in range(at.num_ops):
            chip.matmul(x, weight, compute=ComputeConfig(fidelity=Fidelity.HIFI2))

    return run


def _head(chip: Chip, _: Setting) -> None:
    x = chip.empty((32, 2048), memory=MemoryConfig.L1)
    weight = chip.empty((2048, 128256 // 8), DType.BFP8_B)
    chip.matmul(x, weight, compute=ComputeConfig(fidelity=Fidelity.HIFI2))


def _residual(chip: Chip, _: Setting) -> None:
    x = chip.empty((32, 2048), memory=MemoryConfig.L1)
    chip.add(x, x)


def _mul_silu(chip: Chip, _: Setting) -> None:
    x = chip.empty((32, 28672 // 8 // 4), memory=MemoryConfig.L1)
    chip.mul(x, x, activations=("silu",))


def _rotary(chip: Chip, _: Setting) -> None:
    x = chip.empty((1, 8, 32, 128), memory=MemoryConfig.L1)
    table = chip.empty((32, 128), memory=MemoryConfig.L1)
    chip.rotary_embedding(x, table, table)


def _top_k(chip: Chip, _: Setting) -> None:
    chip.topk(chip.empty((32, 128256 // 8)), 32)


KINDS: Mapping[str, tuple[str, Run]] = {
    "LayerNorm": ("ttnn", _layer_norm),
    "BinaryNg": ("ttnn", _binary),
    "Unary": ("ttnn", _unary),
    "NlpCreateHeads": ("ttnn", _create_heads),
    "NLPConcatHeads": ("ttnn", _concat_heads),
    "Matmul _x5376x5376": ("tt_transformers", _product(5376, 5376)),
    "Matmul _x5376x4608": ("tt_transformers", _product(5376, 4608)),
    "Matmul _x4096x5376": ("tt_transformers", _product(4096, 5376)),
    "LM_head_Matmul": ("ttnn", _head),
    "Last_Residual_add": ("ttnn", _residual),
    "Binary_Mult_Silu": ("ttnn", _mul_silu),
    "RotaryEmbeddingLlamaFusedQK": ("ttnn", _rotary),
    "TopK": ("ttnn", _top_k),
}
"""Ops by the rows' names for them: whose programs they are, and what runs."""

EXCLUDED: Mapping[str, str] = {
    r"TOTAL": "a sum of other rows",
    r"RMS": "fused with an all_gather",
    r".*(AllGather|AllReduce|ReduceScatter)": "a collective: that family has its own rows",
    r"RingJointSDPA": "fused with the ring's transfers, and its time does not go with its work",
    r"(QKV|DO|FF2)_MM": "its weights come from a prefetcher, while other ops run",
    r"SDPA_decode": "the length of the cache is not said",
    r"GatherCodegen|Slice|Tilize": "what it moves is not said",
    r"(Interleaved|Sharded)To|Reshard|Typecast|Untilize": "what it moves is not said",
    r"PagedUpdateCache": "where the cache lies, and how many users' rows it writes, is not said",
    r"Indices_correction|PlusOne": "the tensor is not said",
    r"Sampling": "several kernels in one; its gap says that the host takes part",
}
"""Rows of ops.csv that say too little, by their names."""


def lines() -> list[Line]:
    """The shipped rows."""
    return [line for line in shipped("ops.csv") if line.text("category") != "dram_bw"]


def excluded(line: Line) -> str:
    """Why the shapes of a row cannot be known; "" when they can."""
    if _kind(line) in KINDS:
        return ""
    op = line.text("op")
    return next((why for name, why in EXCLUDED.items() if re.match(name, op)), "")


def case(line: Line) -> Case:
    """The ops of a row: columns arch, op, shape_or_cfg, time_us.

    Raises:
        BadRow: a field is missing or wrong.
    """
    kind = _kind(line)
    if kind not in KINDS:
        raise line.bad(f"op (={line.text('op')!r}) must begin with one of {', '.join(KINDS)}")
    stack, run = KINDS[kind]
    arch = line.one_of("arch", ("blackhole", "wormhole_b0"))
    product = {"blackhole": "galaxy_bh", "wormhole_b0": "galaxy_wh"}[arch]
    tokens = re.search(r"M/chip=(\d+)", line.text("shape_or_cfg"))
    num_ops = re.search(r"\(n=(\d+)\)", line.text("op"))
    chip = Chip.open(product, plan=True)
    m = int(tokens.group(1)) if tokens else 32
    is_global = "global" in line.text("shape_or_cfg")
    run(chip, Setting(m, is_global, int(num_ops.group(1)) if num_ops else 1))
    works, fixed_us = counted(chip.recorder.works())
    return Case(
        group=f"{arch} {kind}",
        label=f"{arch} {line.text('op')} {line.text('shape_or_cfg').partition(';')[0]} M {m}",
        spec=load_product(product),
        stack=stack,
        measured_us=line.number_of("time_us"),
        works=works,
        fixed_us=fixed_us,
        is_device=True,
    )


def _kind(line: Line) -> str:
    return line.text("op").partition(" (")[0]
