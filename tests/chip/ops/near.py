"""How near to float64 an op comes that computes in float32 and rounds once."""

from hypothesis import strategies as st

plain_floats = st.sampled_from(["float32", "bfloat16"])


def near(dtype: str) -> float:
    """Units in the last place: the rounding of bfloat16, or a few float32 steps."""
    return 0.51 if dtype == "bfloat16" else 32
