"""The time of a matrix product by its placement, in microseconds.

Prefill (many tile rows): the grid of output tiles is cut into a rectangle for each core, in two
dims or in one, whichever leaves the fullest core least to do. A benchmark computes while the next
blocks of in0 and in1 come in; a model's programs may not. A finished output is packed, and written
if it lies in DRAM.

Decode (one tile row): the columns of in1 are cut over the cores, and the weights stream from DRAM
past them. The activations are resharded before and after, in stacks that say so.

The form of both is that of docs/design/0004-time-and-plans.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .work import Product

if TYPE_CHECKING:
    from .model import CostModel

ELEMENTS = 1024  # of a tile

Parts = tuple[float, float, float, float]
"""Start, computing, DRAM, and how long the last two take together."""


def prefill_product(model: CostModel, product: Product, phases: int) -> Parts:
    """A product of many tile rows."""
    value, clock_us = model.value, model.clock_us
    outputs = _fullest_core(model.spec.grid, product)
    steps = outputs * product.k_tiles
    unpacked = (product.in0_tile_bytes + product.in1_tile_bytes) / 2 / ELEMENTS
    clocks = value["matmul_tile_clocks"] * phases
    clocks += value["matmul_unpack_clocks_per_byte"] * unpacked
    compute_us = steps * clocks / clock_us / value["matmul_compute_share"]
    bytes_in = product.in0_dram_bytes + product.in1_dram_bytes
    feed_us = bytes_in / (model.peak * value["matmul_feed_efficiency"])
    feed_us = feed_us / value["matmul_feed_share"]
    feed_us += product.k_tiles * value["matmul_step_clocks"] / clock_us
    packed = product.out_tile_bytes / ELEMENTS
    end_us = outputs * packed * value["matmul_pack_clocks_per_byte"] / clock_us
    write_us = product.out_dram_bytes / (model.peak * value["matmul_write_efficiency"])
    start_us = value["matmul_start_clocks"] / clock_us + value["op_start_us"]
    hidden_us = min(compute_us, feed_us) * min(1.0, value["matmul_overlap"])
    busy_us = compute_us + feed_us - hidden_us + end_us + write_us
    return start_us, compute_us, feed_us + write_us, busy_us


def decode_product(model: CostModel, product: Product, phases: int) -> Parts:
    """A product of one tile row."""
    value = model.value
    columns = -(-product.n_tiles // model.spec.num_cores)
    clocks = value["matmul_tile_clocks"] * phases * columns * product.k_tiles
    compute_us = clocks / model.clock_us
    dram_us = product.in1_dram_bytes / (model.peak * value["decode_feed_efficiency"])
    start_us = model.start_us * (1 + value["reshards"])
    return start_us, compute_us, dram_us, max(compute_us, dram_us)


def _fullest_core(grid: tuple[int, int], product: Product) -> int:
    """Output tiles of the core that has most."""
    columns, rows = grid
    m, n = product.m_tiles, product.n_tiles
    both = -(-m // rows) * -(-n // columns)
    return min(both, m * -(-n // (columns * rows)), -(-m // (columns * rows)) * n)
