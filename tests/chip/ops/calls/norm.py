"""Calls of norms, whole and in the two parts of rows cut over chips."""

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import strategies as st

from meshtwin.chip.chip import Chip
from meshtwin.chip.tensor import TILE, Tensor

from ..call import Array, Call, Calls, Input
from ..draw import normal, seeds, shapes
from ..near import near, plain_floats

EPS = 1e-5


def rms(x: Array) -> Array:
    """Rows over their root mean square."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + EPS))


def layer(x: Array) -> Array:
    """Rows less their mean, over their deviation."""
    centred = x - np.mean(x, axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + EPS))


@st.composite
def norm(draw: st.DrawFn, name: str, function: Callable[[Array], Array]) -> Call:
    """A norm with any of weight, bias and residual."""
    shape = (*draw(shapes(most_dims=3)), draw(st.integers(1, 100)))
    columns = shape[-1:]
    rows = draw(st.sampled_from([columns, (1, 1, 1, *columns)]))
    wanted = {"weight": rows, "bias": columns, "residual": shape}
    given = [role for role in wanted if draw(st.booleans())]
    dtype = draw(plain_floats)
    inputs = [Input(normal(shape, draw(seeds)), dtype)]
    inputs += [Input(normal(wanted[role], draw(seeds)), draw(plain_floats)) for role in given]

    def run(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
        others = dict(zip(given, tensors[1:], strict=True))
        out: Tensor = getattr(chip, name)(tensors[0], eps=EPS, **others)
        return out

    def expected(x: Array, *others: Array) -> Array:
        by_role = dict(zip(given, others, strict=True))
        rows = function(x + by_role.get("residual", 0.0))
        weight, bias = by_role.get("weight", np.ones(1)), by_role.get("bias", np.zeros(1))
        return rows * weight.reshape(-1) + bias.reshape(-1)

    return Call(tuple(inputs), run, expected, ulps=near(dtype), absolute=1e-4)


@st.composite
def statistics(draw: st.DrawFn, name: str, num_statistics: int) -> Call:
    """The sums of a chip's part of the rows."""
    shape = (*draw(shapes(most_dims=3)), draw(st.integers(1, 100)))
    dtype = draw(plain_floats)

    def expected(x: Array) -> Array:
        out = np.zeros((*shape[:-1], num_statistics * TILE))
        out[..., 0] = (x * x).sum(axis=-1)
        if num_statistics == 2:
            out[..., TILE] = x.sum(axis=-1)
        return out

    return Call(
        (Input(normal(shape, draw(seeds)), draw(plain_floats)),),
        lambda chip, t: getattr(chip, name)(t[0], dtype),
        expected,
        ulps=near(dtype),
        absolute=1e-4,
    )


@st.composite
def from_statistics(draw: st.DrawFn, name: str, num_statistics: int) -> Call:
    """The norm of a chip's part of the rows, by the statistics of all parts."""
    shape = (*draw(shapes(most_dims=3)), draw(st.integers(1, 100)))
    num_chips, dtype = draw(st.integers(1, 4)), draw(plain_floats)
    stats = np.zeros((*shape[:-1], num_chips, num_statistics * TILE))
    flat = (*shape[:-1], num_chips * num_statistics * TILE)
    stats[..., 0] = shape[-1] * (2 + abs(normal(stats.shape[:-1], draw(seeds))))
    if num_statistics == 2:
        stats[..., TILE] = shape[-1] * draw(st.floats(-0.5, 0.5))

    def expected(x: Array, stats: Array, weight: Array) -> Array:
        parts = stats.reshape(*shape[:-1], num_chips, num_statistics * TILE)
        sums = parts.sum(axis=-2)[..., ::TILE] / (num_chips * shape[-1])
        mean = sums[..., 1:] if num_statistics == 2 else np.zeros(1)
        return np.asarray((x - mean) / np.sqrt(sums[..., :1] - mean**2 + EPS) * weight)

    return Call(
        (
            Input(normal(shape, draw(seeds)), dtype),
            Input(stats.reshape(flat), draw(plain_floats)),
            Input(normal(shape[-1:], draw(seeds)), draw(plain_floats)),
        ),
        lambda chip, t: getattr(chip, name)(*t, eps=EPS),
        expected,
        ulps=near(dtype),
        absolute=1e-5,
    )


CALLS: Calls = {
    "rms_norm": norm("rms_norm", rms),
    "layer_norm": norm("layer_norm", layer),
    "rms_norm_pre_all_gather": statistics("rms_norm_pre_all_gather", 1),
    "layer_norm_pre_all_gather": statistics("layer_norm_pre_all_gather", 2),
    "rms_norm_post_all_gather": from_statistics("rms_norm_post_all_gather", 1),
    "layer_norm_post_all_gather": from_statistics("layer_norm_post_all_gather", 2),
}
