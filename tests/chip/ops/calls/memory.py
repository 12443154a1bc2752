"""Calls of the ops that move tensors between memories."""

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.memory.config import Buffer, MemoryConfig, MemoryLayout, ShardSpec, core_grid

from ..call import Array, Call, Calls, Input

PLACES = (
    MemoryConfig.DRAM,
    MemoryConfig.L1,
    MemoryConfig(Buffer.L1, MemoryLayout.HEIGHT_SHARDED, ShardSpec(core_grid(3), (32, 64))),
    MemoryConfig(Buffer.L1, MemoryLayout.WIDTH_SHARDED, ShardSpec(core_grid(2), (96, 32))),
    MemoryConfig(Buffer.L1, MemoryLayout.BLOCK_SHARDED, ShardSpec(core_grid(2, 3), (32, 32))),
    MemoryConfig(Buffer.DRAM, MemoryLayout.WIDTH_SHARDED, ShardSpec(core_grid(2), (96, 32))),
)
"""Where a tensor of three rows and two columns of tiles can lie."""


@st.composite
def moves(draw: st.DrawFn) -> Call:
    """A tensor from DRAM to one place, and from there to another: the values stay."""
    first, second = draw(st.sampled_from(PLACES)), draw(st.sampled_from(PLACES))
    rows, columns = draw(st.integers(65, 96)), draw(st.integers(33, 64))
    values = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((rows, columns))

    def same(x: Array) -> Array:
        return x

    return Call(
        (Input(values, draw(st.sampled_from(["bfloat16", "float32"]))),),
        lambda chip, xs: chip.to_memory_config(chip.to_memory_config(xs[0], first), second),
        same,
        ulps=0,
    )


CALLS: Calls = {"to_memory_config": moves()}
