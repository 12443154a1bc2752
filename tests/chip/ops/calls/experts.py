"""Calls of a mixture of experts."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.tensor import Tensor

from ..call import Array, Call, Calls, Input


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def expected(activation: str, x: Array, chosen: Array, weights: Array, *rest: Array) -> Array:
    """Token by token, expert by expert, in float64."""
    gate, up, down = rest[:3]
    biases = rest[3:] or (np.zeros((len(gate), 1)),) * 3
    out = np.zeros(x.shape)
    for token in np.ndindex(x.shape[:-1]):
        for expert, weight in zip(chosen[token], weights[token], strict=True):
            opened = gate[expert] @ x[token] + biases[0][expert]
            doubled = up[expert] @ x[token] + biases[1][expert]
            if activation == "silu":
                hidden = opened * sigmoid(opened) * doubled
            else:
                opened = np.minimum(opened, 7)
                hidden = (np.clip(doubled, -7, 7) + 1) * opened * sigmoid(1.702 * opened)
            out[token] += weight * (down[expert] @ hidden + biases[2][expert])
    return out


@st.composite
def experts(draw: st.DrawFn) -> Call:
    """A few tokens through some of a few experts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    num, size, width = (draw(st.integers(1, most)) for most in (5, 40, 40))
    tokens = tuple(draw(st.lists(st.integers(0, 4), min_size=1, max_size=2)))
    per_token = draw(st.integers(1, num))
    activation = draw(st.sampled_from(["silu", "clamped_swiglu"]))
    opening, closing = (num, size, width), (num, width, size)
    shapes: list[tuple[int, ...]] = [opening, opening, closing]
    if draw(st.booleans()):
        shapes += [(num, size), (num, size), (num, width)]
    dtype = draw(st.sampled_from(["float32", "bfloat16"]))
    chosen = rng.integers(0, num, (*tokens, per_token))
    weights = rng.random((*tokens, per_token))
    parts = [rng.standard_normal(shape) * shape[-1] ** -0.5 for shape in shapes]
    inputs = (
        Input(rng.standard_normal((*tokens, width)), dtype),
        Input(chosen, "uint32"),
        Input(weights, "float32"),
        *(Input(part, dtype) for part in parts),
    )

    def run(chip: Chip, t: Sequence[Tensor]) -> Tensor:
        names = ("gate_bias", "up_bias", "down_bias")
        biases = dict(zip(names, t[6:], strict=False))
        return chip.experts(t[0], t[1], t[2], t[3], t[4], t[5], activation=activation, **biases)

    bound = 1e-5 if dtype == "float32" else 0.06
    return Call(
        inputs,
        run,
        lambda *values: expected(activation, *values),
        ulps=1,
        absolute=bound * per_token,
    )


CALLS: Calls = {"experts": experts()}
