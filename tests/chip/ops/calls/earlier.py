"""Calls of ops whose family has no file of its own yet: one or a few shapes each."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from meshtwin.chip.chip import Chip
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


def attention(q: Array, k: Array, v: Array, start: int = 4) -> Array:
    """Causal attention of every query head to the key-value head it belongs to."""
    heads, kv_heads, positions = q.shape[1], k.shape[1], q.shape[2]
    k, v = (x.repeat(heads // kv_heads, axis=1) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2) / np.sqrt(q.shape[-1])
    hidden = np.arange(k.shape[2]) > start + np.arange(positions)[:, None]
    powers = np.where(hidden, 0, np.exp(scores))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True) @ v)


def updated(chip: Chip, tensors: Sequence[Tensor]) -> Tensor:
    """The cache after a write into it."""
    chip.update_cache(tensors[0], tensors[1], 5)
    return tensors[0]


def heads(x: Array) -> tuple[Array, Array, Array]:
    """4 query and 2 + 2 key-value heads of 16."""
    split = x.reshape(*x.shape[:2], 8, 16).swapaxes(1, 2)
    return split[:, :4], split[:, 4:6], split[:, 6:]


def rotated(x: Array, cos: Array, sin: Array) -> Array:
    """The half-rotation convention."""
    left, right = np.split(x, 2, axis=-1)
    return np.asarray(x * cos + np.concatenate((-right, left), axis=-1) * sin)


def write(cache: Array, x: Array) -> Array:
    """Rows 5, 6, 7 of the cache replaced."""
    out = cache.copy()
    out[:, :, 5:8] = x
    return out


def normed(x: Array, weight: Array) -> Array:
    """Rows over their root mean square."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-5) * weight)


def softmax(x: Array) -> Array:
    """Along dim 0."""
    return np.asarray(np.exp(x) / np.exp(x).sum(axis=0))


def rows(ids: Array, table: Array) -> Array:
    """Rows of a table whose first row is 2; zeros for what it does not hold."""
    found = table[np.clip(ids - 2, 0, 8)]
    return np.where(((ids >= 2) & (ids < 11))[..., None], found, 0)


CALLS: Calls = {
    "embedding": st.just(
        Call(
            (Input(np.arange(14).reshape(1, 14), "int32"), Input(normal((9, 40), 0))),
            lambda c, t: c.embedding(t[0], t[1], 2),
            rows,
        )
    ),
    "rms_norm": fixed([(1, 3, 40), (40,)], lambda c, t: c.rms_norm(*t, 1e-5), normed),
    "rotary_embedding": fixed(
        [(1, 2, 3, 16), (3, 16), (3, 16)],
        lambda c, t: c.rotary_embedding(*t),
        rotated,
        absolute=1e-5,
    ),
    "create_heads": fixed([(2, 3, 128)], lambda c, t: c.create_heads(t[0], 4, 2), heads),
    "concat_heads": fixed(
        [(2, 4, 3, 16)],
        lambda c, t: c.concat_heads(t[0]),
        lambda x: x.swapaxes(1, 2).reshape(2, 3, 64),
    ),
    "attention": fixed(
        [(1, 4, 3, 16), (1, 2, 9, 16), (1, 2, 9, 16)],
        lambda c, t: c.attention(*t, 4),
        attention,
        absolute=1e-4,
    ),
    "update_cache": fixed([(1, 2, 40, 16), (1, 2, 3, 16)], updated, write),
    "softmax": fixed([(3, 40)], lambda c, t: c.softmax(t[0], 0), softmax),
    "reshape": fixed(
        [(3, 40)], lambda c, t: c.reshape(t[0], (1, 6, -1)), lambda x: x.reshape(1, 6, 20)
    ),
    "permute": fixed(
        [(2, 3, 40)], lambda c, t: c.permute(t[0], (2, 0, 1)), lambda x: x.transpose(2, 0, 1)
    ),
    "slice": fixed([(3, 40)], lambda c, t: c.slice(t[0], (1, 2), (3, 40)), lambda x: x[1:3, 2:40]),
    "concat": fixed(
        [(3, 40), (3, 2)],
        lambda c, t: c.concat(t, -1),
        lambda *parts: np.concatenate(parts, axis=-1),
    ),
    "typecast": fixed(
        [(3, 40)],
        lambda c, t: c.typecast(t[0], DType.INT32),
        lambda x: np.trunc(x).astype(np.int64),
    ),
}
