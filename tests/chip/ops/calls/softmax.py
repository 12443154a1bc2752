"""Calls of softmax."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.compute_config import ComputeConfig
from meshtwin.chip.tensor import Tensor

from ..call import Array, Call, Calls, Input
from ..draw import normal, seeds, shapes
from ..near import near, plain_floats


def probabilities(x: Array, dim: int = -1) -> Array:
    """Softmax, in float64."""
    if not x.size:
        return x
    powers = np.exp(x - x.max(axis=dim, keepdims=True))
    return np.asarray(powers / powers.sum(axis=dim, keepdims=True))


configs = st.none() | st.builds(ComputeConfig, approx=st.booleans(), fp32_dest_acc=st.booleans())


def off_by(compute: ComputeConfig | None) -> float:
    """How far a probability may be off: by its routines, and by a Dst of 8 bits at every step."""
    if compute is None:
        return 1e-38  # numbers too small for float32 become 0
    return 1e-6 + 0.04 * compute.approx + 0.04 * (not compute.fp32_dest_acc)


@st.composite
def softmax(draw: st.DrawFn) -> Call:
    """Along any dim."""
    shape = draw(shapes(least_dims=1))
    dim, dtype = draw(st.integers(-len(shape), len(shape) - 1)), draw(plain_floats)
    compute = draw(configs)
    return Call(
        (Input(normal(shape, draw(seeds), 4), dtype),),
        lambda chip, t: chip.softmax(t[0], dim, compute),
        lambda x: probabilities(x, dim),
        ulps=near(dtype),
        absolute=off_by(compute),
    )


@st.composite
def masked(draw: st.DrawFn) -> Call:
    """With a scale, a mask of any repeating shape, and the causal triangle or not."""
    columns = draw(st.integers(1, 40))
    shape = (*draw(shapes(most_dims=2, most=5)), draw(st.integers(1, columns)), columns)
    scale, is_causal = draw(st.sampled_from([None, 0.25])), draw(st.booleans())
    mask_shape = tuple(draw(st.sampled_from([1, dim])) for dim in shape)
    dtype, compute = draw(plain_floats), draw(configs)
    inputs = [Input(normal(shape, draw(seeds), 4), dtype)]
    if draw(st.booleans()):
        skipped = draw(st.integers(0, len(shape) - 1))
        inputs.append(Input(normal(mask_shape[skipped:], draw(seeds)), draw(plain_floats)))

    def run(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
        return chip.scale_mask_softmax(
            tensors[0], scale, *tensors[1:], is_causal=is_causal, compute=compute
        )

    def expected(x: Array, mask: Array | float = 0.0) -> Array:
        scores = x * (scale or 1.0) + mask
        if is_causal:
            ahead = np.arange(columns) - np.arange(shape[-2])[:, None]
            scores = np.where(ahead > columns - shape[-2], -np.inf, scores)
        return probabilities(scores)

    return Call(tuple(inputs), run, expected, ulps=near(dtype), absolute=off_by(compute))


CALLS: Calls = {"softmax": softmax(), "scale_mask_softmax": masked()}
