"""Calls of matmul and linear: every fidelity, and the chip's own choice."""

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.compute_config import ComputeConfig, Fidelity

from ...bits import Array, product
from ..call import Call, Calls, Input

sides = st.one_of(st.integers(1, 5), st.integers(1, 70))
formats = st.sampled_from(["float32", "bfloat16"])
configs = st.one_of(st.none(), st.sampled_from(Fidelity).map(ComputeConfig))
SUMS = 2.0**-18  # of the sizes summed: float32 sums of at most 70 products


def numbers(draw: st.DrawFn, *shape: int) -> Array:
    """Normally distributed numbers."""
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).standard_normal(shape)


def config_of(compute: ComputeConfig | None, *dtypes: str) -> ComputeConfig:
    """The config that a call without one means."""
    return ComputeConfig.default("matmul", *dtypes) if compute is None else compute


@st.composite
def matmul(draw: st.DrawFn) -> Call:
    """a [B, M, K] x b [K, N], or b with leading dims."""
    m, k, n = draw(sides), draw(sides), draw(sides)
    batch = draw(st.sampled_from([((), ()), ((2,), ()), ((2, 1), (3,)), ((), (2,))]))
    a = Input(numbers(draw, *batch[0], m, k), draw(formats))
    b = Input(numbers(draw, *batch[1], k, n), draw(formats))
    compute = draw(configs)
    fidelity = config_of(compute, a.dtype, b.dtype).fidelity
    return Call(
        (a, b),
        lambda chip, t: chip.matmul(t[0], t[1], compute=compute),
        lambda a, b: product(fidelity, a, b),
        absolute=SUMS * 10 * k,
    )


@st.composite
def linear(draw: st.DrawFn) -> Call:
    """x [2, M, K] . weight [N, K]^T, with a bias or without."""
    m, k, n = draw(sides), draw(sides), draw(sides)
    x = Input(numbers(draw, 2, m, k), draw(formats))
    weight = Input(numbers(draw, n, k), draw(formats))
    bias = (Input(numbers(draw, n), draw(formats)),) if draw(st.booleans()) else ()
    compute = draw(configs)
    fidelity = config_of(compute, x.dtype, weight.dtype).fidelity

    def expected(x: Array, weight: Array, bias: float | Array = 0.0) -> Array:
        return product(fidelity, x, weight.T) + bias

    return Call(
        (x, weight, *bias),
        lambda chip, t: chip.linear(t[0], t[1], t[2] if len(t) > 2 else None, compute),
        expected,
        absolute=SUMS * 10 * k,
    )


CALLS: Calls = {"matmul": matmul(), "linear": linear()}
