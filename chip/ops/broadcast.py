"""Functions of two numbers: what the elementwise ops of two operands have in common.

The second operand is a tensor that broadcasts with the first, or a plain number. Operands are
widened to float32, computed in float32 and rounded once to nearest even, to the first one's format;
integers wrap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from numbers import Real
from typing import Literal

import numpy as np

from .. import kernels
from ..cost import WorkKind
from ..dtype import DType
from ..errors import DTypeError, ShapeError
from ..state import ChipState, Op, Plan
from ..tensor import Array, Shape, Tensor, TensorSpec
from .activation import activations_named
from .pointwise import Pointwise
from .scalar import check_scalar, stored_scalar
from .shared import (
    WORDS,
    computes_in_words,
    elementwise_plan,
    like,
    narrow,
    quietly,
    require_float,
    require_integers,
    wide,
)

SHORTEST_REPEAT = 32  # b repeated along a: rows shorter than this are left to numpy

Operand = Tensor | float
Kernel = Callable[[Array, Array, Array], None]


@dataclass(frozen=True, slots=True, eq=False)
class Binary:
    """A function of two numbers and what it costs.

    Attributes:
        function: f(a, b) on float32 or integer arrays; truth values become 0 and 1.
        passes: tile operations; of the matrix engine's adder and multiplier (kind "eltwise") or
            instructions of the vector unit ("sfpu").
        kernel: the compiled loop for bfloat16 words, if there is one.
        takes: which formats it takes.
        plain: the op on two tensors, the common case.
        general: the op on a number, or with options; its parameters are the number or None, the
            activations of a, those of the result, and the result's format or None.
    """

    name: str
    function: Callable[[Array, Array], Array]
    kind: WorkKind = "eltwise"
    passes: int = 1
    kernel: Kernel | None = None
    takes: Literal["all", "floats", "integers"] = "all"
    plain: Op = field(init=False)
    general: Op = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", Op(self.name, self._plain_rule, self._plain_values))
        object.__setattr__(self, "general", Op(self.name, self._rule, self._values))

    def run(
        self,
        chip: ChipState,
        a: Tensor,
        b: Operand,
        activations: Sequence[str] = (),
        a_activations: Sequence[str] = (),
        dtype: DType | str | None = None,
    ) -> Tensor:
        """Run the op on a and b; see `binary.add` for what the arguments say."""
        if isinstance(b, Tensor) and not (activations or a_activations or dtype):
            return chip.run(self.plain, (a, b))
        options = (_names(a_activations), _names(activations), dtype and DType.parse(dtype))
        if isinstance(b, Tensor):
            return chip.run(self.general, (a, b), (None, *options))
        if not isinstance(b, Real):
            raise DTypeError(
                f"b is a {type(b).__name__} (expected a tensor or a number)", self.name, chip.rank
            )
        return chip.run(self.general, (a,), (b, *options))

    def _plain_rule(self, a: TensorSpec, b: TensorSpec) -> Plan:
        self._check_format(a)
        require_alike(a=a, b=b)
        return elementwise_plan(
            like(a, broadcast_shape(a=a.shape, b=b.shape)), (a, b), self.kind, self.passes
        )

    def _rule(
        self,
        number: float | None,
        a_activations: tuple[str, ...],
        activations: tuple[str, ...],
        dtype: DType | None,
        *specs: TensorSpec,
    ) -> Plan:
        a = specs[0]
        if number is None:
            shape = broadcast_shape(a=a.shape, b=specs[1].shape)
            require_alike(a=a, b=specs[1])
        else:
            shape = a.shape
            check_scalar("b", number, a.dtype)
        output = like(a, shape, dtype)
        extra = activations_named((*a_activations, *activations))
        self._check_format(a)
        if extra or output.dtype is not a.dtype:
            require_float(a=a, result=output)
        if not extra:
            return elementwise_plan(output, specs, self.kind, self.passes)
        passes = sum(function.passes for function in extra) + self.passes
        flops = sum(function.flops for function in extra) + 1
        return elementwise_plan(output, specs, "sfpu", passes, flops)

    def _check_format(self, a: TensorSpec) -> None:
        if self.takes == "floats":
            require_float(a=a)
        elif self.takes == "integers":
            require_integers(a=a)

    def _values(
        self,
        number: float | None,
        a_activations: tuple[str, ...],
        activations: tuple[str, ...],
        dtype: DType | None,
        *arrays: Array,
    ) -> Array:
        a = arrays[0]
        for function in activations_named(a_activations):
            a = function.values(a)
        b = arrays[1] if number is None else _number_along(number, a)
        as_words = a.itemsize == 2 if dtype is None else computes_in_words(dtype)
        if not activations and as_words == (a.itemsize == 2):
            return self._plain_values(a, b)
        return self._rounded_to(as_words, activations_named(activations), a, b)

    @quietly
    def _rounded_to(
        self, as_words: bool, activations: tuple[Pointwise, ...], a: Array, b: Array
    ) -> Array:
        result = np.asarray(self.function(wide(a), wide(b)), np.float32)
        for function in activations:
            result = function.values(result)
        if not as_words:
            return result
        out = np.empty(result.shape, WORDS)
        kernels.round_words(np.asarray(result, order="C"), out)
        return out

    def _plain_values(self, a: Array, b: Array) -> Array:
        if self.kernel is not None and _compiled_fits(a, b):
            out = np.empty(a.shape, WORDS)
            self.kernel(a, b, out)
            return out
        return self._numpy(a, b)

    @quietly
    def _numpy(self, a: Array, b: Array) -> Array:
        result = self.function(wide(a), wide(b))
        return narrow(np.asarray(result, np.float32 if a.itemsize == 2 else a.dtype), a)


def _names(activations: str | Sequence[str]) -> tuple[str, ...]:
    return (activations,) if isinstance(activations, str) else tuple(activations)


def broadcast_shape(**shapes: Shape) -> Shape:
    """The shape that these broadcast to, as in numpy.

    Raises:
        ShapeError: a dim differs and is 1 in none; the first such dim is named.
    """
    for (first, a), (second, b) in combinations(shapes.items(), 2):
        for dim in range(-min(len(a), len(b)), 0):
            if a[dim] != b[dim] and 1 not in (a[dim], b[dim]):
                raise ShapeError(
                    f"{a} with {b}: each dim must be equal, or 1 in one of them; dim {dim} of "
                    f"{second} is {b[dim]} (nearest: {a[dim]}, as {first}, or 1)"
                )
    return np.broadcast_shapes(*shapes.values())


def require_alike(**specs: TensorSpec) -> None:
    """Raise DTypeError unless all hold floats (of any formats), or all the same integers."""
    (_, a), *others = specs.items()
    for _, b in others:
        if a.dtype is not b.dtype and not (a.dtype.is_float and b.dtype.is_float):
            raise DTypeError(
                f"{a.dtype} with {b.dtype} (expected two float formats, or the same integers)"
            )


def _number_along(number: float, a: Array) -> Array:
    """The number as a tensor: a row as long as a's where the kernels can repeat that."""
    stored = stored_scalar(number, a)
    if a.itemsize == 2 and a.ndim and a.shape[-1] >= SHORTEST_REPEAT:
        return np.full(a.shape[-1:], stored, WORDS)
    return stored


def _repeats(b: Shape, a: Shape) -> bool:
    """Whether b, but for leading ones, is the end of a."""
    while b and b[0] == 1:
        b = b[1:]
    return not b or a[-len(b) :] == b


def _compiled_fits(a: Array, b: Array) -> bool:
    """Whether the kernels, which take words and repeat b along a, can do this pair."""
    if a.itemsize != 2 or b.itemsize != 2:
        return False
    return a.shape == b.shape or (
        b.ndim <= a.ndim and b.size >= SHORTEST_REPEAT and _repeats(b.shape, a.shape)
    )
