"""Calls of ops whose family has no file of its own yet: one or a few shapes each."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from meshtwin.chip.dtype import DType
from meshtwin.chip.tensor import Tensor

from ..call import Array, Call, Calls, Input
from ..draw import normal

Run = Callable[[Any, Sequence[Tensor]], Any]  # Any: the ops are called with *tensors


def fixed(
    shapes: Sequence[tuple[int, ...]],
    run: Run,
    expected: Callable[..., Array | tuple[Array, ...]],
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    absolute: float = 0.0,
) -> SearchStrategy[Call]:
    """Calls on inputs of these shapes, all of one of the formats."""

    def call(dtype: str) -> Call:
        inputs = [Input(normal(shape, seed), dtype) for seed, shape in enumerate(shapes)]
        return Call(tuple(inputs), run, expected, ulps=4, absolute=absolute)

    return st.sampled_from(list(dtypes)).map(call)


CALLS: Calls = {
    "typecast": fixed(
        [(3, 40)],
        lambda c, t: c.typecast(t[0], DType.INT32),
        lambda x: np.trunc(x).astype(np.int64),
    ),
}
