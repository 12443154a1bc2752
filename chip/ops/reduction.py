"""Reducing dims to one number each, and running sums.

Floats are widened to float32, summed in float32 in an order that the shape alone decides (numpy's),
and rounded once at the end. Integers wrap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..cost import Work
from ..errors import ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Shape, Tensor, TensorSpec
from .shared import like, narrow, normal_dim, num_tile_rows, quietly, require_float, wide

Dims = int | Sequence[int] | None
Axes = tuple[int, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Reduction:
    """A function that makes one number of many.

    Attributes:
        function: f(x, dims, *params) on float32 or integers, the dims kept as 1.
        passes: how often it reads a tile.
        integers: whether it takes integers.
        of_nothing: whether it has a result for no numbers at all.
    """

    name: str
    function: Callable[..., Array]
    passes: int = 1
    integers: bool = True
    of_nothing: bool = True

    def run(
        self, chip: ChipState, x: Tensor, dim: Dims, keepdim: bool, params: tuple[int, ...] = ()
    ) -> Tensor:
        """Run the op on x; see `sum`."""
        dims = (dim,) if isinstance(dim, int) else None if dim is None else tuple(dim)
        return chip.run(_OPS[self.name], (x,), (dims, keepdim, *params))

    def rule(self, dim: Axes, keepdim: bool, *rest: int | TensorSpec) -> Plan:
        """The dims are dropped, or kept as 1."""
        x = rest[-1]
        assert isinstance(x, TensorSpec)
        if not self.integers:
            require_float(x=x)
        dims = reduced_dims(dim, x.shape)
        if not self.of_nothing:
            for one in dims:
                if not x.shape[one]:
                    raise ShapeError(f"dim {one} of x {x.shape} has no elements (nearest: 1)")
        output = like(x, reduced_shape(x.shape, dims, keepdim))
        work = Work(
            kind="reduce",
            flops=self.passes * x.size,
            bytes_read=x.padded_bytes,
            bytes_written=output.padded_bytes,
            num_tile_ops=self.passes * x.num_tiles,
            num_parallel=output.num_tiles,
        )
        return Plan((output,), work)

    @quietly
    def values(self, dim: Axes, keepdim: bool, *rest: int | Array) -> Array:
        """The function over the dims, in x's own format."""
        *params, x = rest
        assert isinstance(x, np.ndarray)
        dims = reduced_dims(dim, x.shape)
        result = np.asarray(self.function(wide(x), dims, *params))
        shaped = result.reshape(reduced_shape(x.shape, dims, keepdim))
        return narrow(shaped.astype(np.float32 if x.itemsize == 2 else x.dtype, copy=False), x)


def reduced_dims(dim: Axes, shape: Shape) -> tuple[int, ...]:
    """The dims counted from the front, in order; None: all.

    Raises:
        ShapeError: the shape has no such dim, or one is named twice.
    """
    if dim is None:
        return tuple(range(len(shape)))
    dims = tuple(sorted(normal_dim(one, shape) for one in dim))
    if len(set(dims)) < len(dims):
        raise ShapeError(f"dim (={dim}) names a dim of {shape} twice")
    return dims


def reduced_shape(shape: Shape, dims: tuple[int, ...], keepdim: bool) -> Shape:
    """The shape without these dims, or with 1 in their place."""
    if keepdim:
        return tuple(1 if i in dims else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in dims)


def _sum(x: Array, dims: tuple[int, ...]) -> Array:
    return np.asarray(np.sum(x, axis=dims, keepdims=True, dtype=x.dtype))


def _mean(x: Array, dims: tuple[int, ...]) -> Array:
    return np.asarray(_sum(x, dims) / np.float32(_count(x, dims)))


def _var(x: Array, dims: tuple[int, ...], correction: int) -> Array:
    deviations = x - _mean(x, dims)
    degrees = np.maximum(np.float32(0), _count(x, dims) - correction)
    return np.asarray(_sum(deviations * deviations, dims) / degrees)


def _std(x: Array, dims: tuple[int, ...], correction: int) -> Array:
    return np.sqrt(_var(x, dims, correction))


def _count(x: Array, dims: tuple[int, ...]) -> int:
    count = 1
    for dim in dims:
        count *= x.shape[dim]
    return count


def _prod(x: Array, dims: tuple[int, ...]) -> Array:
    return np.asarray(np.prod(x, axis=dims, keepdims=True, dtype=x.dtype))


def _max(x: Array, dims: tuple[int, ...]) -> Array:
    return np.asarray(np.max(x, axis=dims, keepdims=True))


def _min(x: Array, dims: tuple[int, ...]) -> Array:
    return np.asarray(np.min(x, axis=dims, keepdims=True))


SUM = Reduction("sum", _sum)
MEAN = Reduction("mean", _mean, integers=False)
MAX = Reduction("max", _max, of_nothing=False)
MIN = Reduction("min", _min, of_nothing=False)
PROD = Reduction("prod", _prod)
VAR = Reduction("var", _var, passes=3, integers=False)
STD = Reduction("std", _std, passes=3, integers=False)
_OPS = {r.name: Op(r.name, r.rule, r.values) for r in (SUM, MEAN, MAX, MIN, PROD, VAR, STD)}


def sum(chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Sum over a dim, some dims, or all (None); they are dropped, or kept as 1 with `keepdim`.

    The result has x's dtype and layout; of no numbers it is 0.

    Raises:
        ShapeError: x has no such dim, or one is named twice.
    """
    return SUM.run(chip, x, dim, keepdim)


def mean(chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The mean of floats over dims; of no numbers it is NaN. See `sum`."""
    return MEAN.run(chip, x, dim, keepdim)


def max(chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The largest number over dims, NaN if one is. See `sum`.

    Raises:
        ShapeError: a dim is bad, or has no elements.
    """
    return MAX.run(chip, x, dim, keepdim)


def min(chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The smallest number over dims, NaN if one is. See `max`."""
    return MIN.run(chip, x, dim, keepdim)


def prod(chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """The product over dims; of no numbers it is 1. See `sum`."""
    return PROD.run(chip, x, dim, keepdim)


def var(
    chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False, correction: bool = True
) -> Tensor:
    """The variance of floats over dims: squared deviations from the mean over n - 1, or over n.

    Two passes in float32. NaN or infinity where n - correction is 0. See `sum`.

    Args:
        correction: divide by n - 1 (Bessel's correction), else by n.
    """
    return VAR.run(chip, x, dim, keepdim, (int(correction),))


def std(
    chip: ChipState, x: Tensor, dim: Dims = None, keepdim: bool = False, correction: bool = True
) -> Tensor:
    """The square root of `var`."""
    return STD.run(chip, x, dim, keepdim, (int(correction),))


def _cumsum_rule(dim: int, x: TensorSpec) -> Plan:
    normal_dim(dim, x.shape)
    return Plan(
        (x,),
        Work("eltwise", x.size, x.padded_bytes, x.padded_bytes, x.num_tiles, num_tile_rows(x)),
    )


@quietly
def _cumsum_values(dim: int, x: Array) -> Array:
    operand = wide(x)
    return narrow(np.asarray(np.cumsum(operand, axis=dim, dtype=operand.dtype), order="C"), x)


CUMSUM = Op("cumsum", _cumsum_rule, _cumsum_values)


def cumsum(chip: ChipState, x: Tensor, dim: int) -> Tensor:
    """Running sums along a dim, in float32 from the first element on, each rounded once.

    Raises:
        ShapeError: x has no such dim.
    """
    return chip.run(CUMSUM, (x,), (dim,))
