"""Calls of rotary embeddings, of a sequence and of one position of each user."""

from collections.abc import Callable

import numpy as np
from hypothesis import strategies as st

from ..call import Array, Call, Calls, Input
from ..draw import normal, seeds
from ..near import near, plain_floats


def halves(x: Array) -> Array:
    """(a, b) -> (-b, a) of the two halves of the last dim."""
    left, right = np.split(x, 2, axis=-1)
    return np.concatenate((-right, left), axis=-1)


def pairs(x: Array) -> Array:
    """(a, b) -> (-b, a) of neighbours in the last dim."""
    return np.stack((-x[..., 1::2], x[..., 0::2]), axis=-1).reshape(x.shape)


def pair_matrix() -> Array:
    """x . matrix is `pairs(x)` of 32 columns."""
    return pairs(np.eye(32))[None, None]


@st.composite
def rotary(draw: st.DrawFn, name: str, turned: Callable[[Array], Array]) -> Call:
    """Tables [S,H], [1,1,S,H] or [1,B,1,H]; for pairs with the matrix or without."""
    batch, heads, rows = (draw(st.integers(1, 4)) for _ in range(3))
    with_matrix = turned is pairs and draw(st.booleans())
    width = draw(st.sampled_from([32, 64])) if with_matrix else 2 * draw(st.integers(1, 20))
    by_user = draw(st.booleans())
    shape = (1 if by_user else batch, heads, rows, width)
    table: tuple[int, ...] = (1, heads, 1, width)
    if not by_user:
        table = draw(st.sampled_from([(rows, width), (1, 1, rows, width)]))
    dtype = draw(plain_floats)
    inputs = [Input(normal(shape, draw(seeds)), dtype)]
    inputs += [Input(normal(table, draw(seeds)), draw(plain_floats)) for _ in range(2)]
    if with_matrix:
        inputs.append(Input(pair_matrix()))

    return Call(
        tuple(inputs),
        lambda chip, t: getattr(chip, name)(*t),
        lambda x, cos, sin, *matrix: np.asarray(x * cos + turned(x) * sin),
        ulps=near(dtype),
        absolute=1e-6,
    )


CALLS: Calls = {
    "rotary_embedding": rotary("rotary_embedding", halves),
    "rotary_embedding_llama": rotary("rotary_embedding_llama", pairs),
}
