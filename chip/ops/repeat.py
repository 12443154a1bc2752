"""Ops that write elements more than once: repeat, repeat_interleave, expand; and pad."""

from collections.abc import Sequence

import numpy as np

from ..errors import InvalidArgument, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Layout, Shape, Tensor, TensorSpec
from .scalar import check_scalar, stored_scalar
from .shared import like, move_plan, normal_dim


def _repeat_rule(times: tuple[int, ...], x: TensorSpec) -> Plan:
    if len(times) < len(x.shape) or min(times, default=0) < 0:
        raise ShapeError(
            f"{times} times {x.shape} (expected {len(x.shape)} numbers or more, each >= 0)"
        )
    shape = (1,) * (len(times) - len(x.shape)) + x.shape
    output = like(x, tuple(count * dim for count, dim in zip(times, shape, strict=True)))
    return move_plan(output, x.padded_bytes)


def _repeat_values(times: tuple[int, ...], x: Array) -> Array:
    return np.tile(x, times)


REPEAT = Op("repeat", _repeat_rule, _repeat_values, any_dtype=True)


def repeat(chip: ChipState, x: Tensor, times: Sequence[int]) -> Tensor:
    """Lay a tensor end to end `times[i]` times along each dim i; more numbers add leading dims.

    Raises:
        ShapeError: there are fewer numbers than dims, or one is negative.
    """
    return chip.run(REPEAT, (x,), (tuple(times),))


def _interleave_rule(times: int, dim: int, x: TensorSpec) -> Plan:
    dim = normal_dim(dim, x.shape)
    if times < 1:
        raise InvalidArgument(f"repeats (={times}) must be >= 1")
    output = like(x, (*x.shape[:dim], times * x.shape[dim], *x.shape[dim + 1 :]))
    return move_plan(output, x.padded_bytes)


def _interleave_values(times: int, dim: int, x: Array) -> Array:
    return np.repeat(x, times, axis=dim)


REPEAT_INTERLEAVE = Op("repeat_interleave", _interleave_rule, _interleave_values, any_dtype=True)


def repeat_interleave(chip: ChipState, x: Tensor, repeats: int, dim: int = 0) -> Tensor:
    """Repeat each element along a dim: a b -> a a b b.

    Raises:
        ShapeError: x has no such dim.
        InvalidArgument: `repeats` is < 1.
    """
    return chip.run(REPEAT_INTERLEAVE, (x,), (repeats, dim))


def _expand_rule(shape: Shape, x: TensorSpec) -> Plan:
    old = (1,) * (len(shape) - len(x.shape)) + x.shape
    if len(shape) < len(x.shape) or any(
        want < 0 or have not in (1, want) for have, want in zip(old, shape, strict=True)
    ):
        raise ShapeError(f"{x.shape} as {shape} (expected {x.shape}, where a dim of 1 may grow)")
    return move_plan(like(x, shape), x.padded_bytes)


def _expand_values(shape: Shape, x: Array) -> Array:
    return np.broadcast_to(x, shape).copy()


EXPAND = Op("expand", _expand_rule, _expand_values, any_dtype=True)


def expand(chip: ChipState, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat the dims of 1 until x has this shape; -1 keeps a dim. Unlike torch's, it copies.

    Raises:
        ShapeError: a dim that is not 1 would change.
    """
    missing = len(shape) - len(x.shape)
    whole = tuple(
        x.shape[index - missing] if dim == -1 and index >= missing else dim
        for index, dim in enumerate(shape)
    )
    return chip.run(EXPAND, (x,), (whole,))


def _pad_rule(padding: tuple[tuple[int, int], ...], value: float, x: TensorSpec) -> Plan:
    if len(padding) > len(x.shape) or any(min(pair) < 0 for pair in padding):
        raise ShapeError(
            f"padding {padding} of {x.shape} (expected {len(x.shape)} pairs or fewer, numbers >= 0)"
        )
    if x.layout is Layout.TILE and any(front for front, _ in padding):
        raise InvalidArgument(
            f"padding {padding} before elements of tiles (expected row-major: see to_layout)"
        )
    check_scalar("value", value, x.dtype)
    pairs = ((0, 0),) * (len(x.shape) - len(padding)) + padding
    output = like(
        x, tuple(front + dim + back for dim, (front, back) in zip(x.shape, pairs, strict=True))
    )
    return move_plan(output, x.padded_bytes)


def _pad_values(padding: tuple[tuple[int, int], ...], value: float, x: Array) -> Array:
    if not padding:
        return x.copy()
    pairs = ((0, 0),) * (x.ndim - len(padding)) + padding
    return np.pad(x, pairs, constant_values=stored_scalar(value, x))


PAD = Op("pad", _pad_rule, _pad_values)


def pad(
    chip: ChipState, x: Tensor, padding: Sequence[tuple[int, int]], value: float = 0.0
) -> Tensor:
    """Put elements before and after each dim: padding[i] = (before, after) of dim i.

    Fewer pairs than dims are those of the last dims. A tensor in tiles grows at the end only, as on
    a chip.

    Raises:
        ShapeError: there are more pairs than dims, or a number is negative.
        InvalidArgument: elements before a dim of a tensor in tiles; an integer tensor has no such
            value.
    """
    return chip.run(PAD, (x,), (tuple((front, back) for front, back in padding), value))
