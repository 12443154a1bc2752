"""Hypothesis strategies of sharded models."""

from hypothesis import strategies as st

from meshtwin.chip.dtype import DType

mesh_sizes = st.sampled_from([2, 4, 8])
dtypes = st.sampled_from([DType.FLOAT32, DType.BFLOAT16])
odd_sizes = st.integers(1, 41)
"""Sizes of a dim: they need not be even, nor divide, nor be as many as the chips."""
