"""Comparisons, truth values and choosing by them; true is 1 and false is 0 in the input's dtype."""

from collections.abc import Callable

import numpy as np

from ..state import ChipState, Op, Plan
from ..tensor import Array, Tensor, TensorSpec
from .broadcast import Binary, Operand, broadcast_shape, require_alike
from .pointwise import Pointwise, vector_passes
from .scalar import check_scalar, stored_scalar
from .shared import elementwise_plan, like, narrow, quietly, wide


def _comparison(name: str, function: Callable[[Array, Array], Array]) -> Binary:
    return Binary(name, function, "sfpu", vector_passes("load", "compare"))


def _logical(name: str, function: Callable[[Array, Array], Array]) -> Binary:
    return Binary(name, function, "sfpu", vector_passes("load", "compare", "compare"))


def _bitwise(name: str, function: Callable[[Array, Array], Array]) -> Binary:
    return Binary(name, function, "sfpu", vector_passes("load", plain=1), takes="integers")


def _test(name: str, function: Callable[[Array], Array], integers: bool = False) -> Op:
    return Pointwise(name, function, vector_passes("compare"), 1, True, integers).op()


EQ = _comparison("eq", np.equal)
NE = _comparison("ne", np.not_equal)
LT = _comparison("lt", np.less)
LE = _comparison("le", np.less_equal)
GT = _comparison("gt", np.greater)
GE = _comparison("ge", np.greater_equal)
LOGICAL_AND = _logical("logical_and", np.logical_and)
LOGICAL_OR = _logical("logical_or", np.logical_or)
LOGICAL_XOR = _logical("logical_xor", np.logical_xor)
BITWISE_AND = _bitwise("bitwise_and", np.bitwise_and)
BITWISE_OR = _bitwise("bitwise_or", np.bitwise_or)
BITWISE_XOR = _bitwise("bitwise_xor", np.bitwise_xor)
LOGICAL_NOT = _test("logical_not", np.logical_not, integers=True)
ISNAN = _test("isnan", np.isnan)
ISINF = _test("isinf", np.isinf)
ISFINITE = _test("isfinite", np.isfinite)


def eq(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where a == b, else 0, in a's dtype; shapes, numbers and errors as in `add`."""
    return EQ.run(chip, a, b)


def ne(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where a != b, else 0; see `eq`."""
    return NE.run(chip, a, b)


def lt(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where a < b, else 0; see `eq`."""
    return LT.run(chip, a, b)


def le(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where a <= b, else 0; see `eq`."""
    return LE.run(chip, a, b)


def gt(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where a > b, else 0; see `eq`."""
    return GT.run(chip, a, b)


def ge(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where a >= b, else 0; see `eq`."""
    return GE.run(chip, a, b)


def logical_and(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where neither is 0, else 0; see `eq`."""
    return LOGICAL_AND.run(chip, a, b)


def logical_or(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """0 where both are 0, else 1; see `eq`."""
    return LOGICAL_OR.run(chip, a, b)


def logical_xor(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """1 where just one is 0, else 0; see `eq`."""
    return LOGICAL_XOR.run(chip, a, b)


def bitwise_and(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """The bits set in both integers; shapes, numbers and errors as in `add`."""
    return BITWISE_AND.run(chip, a, b)


def bitwise_or(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """The bits set in one of two integers or both; see `bitwise_and`."""
    return BITWISE_OR.run(chip, a, b)


def bitwise_xor(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """The bits set in just one of two integers; see `bitwise_and`."""
    return BITWISE_XOR.run(chip, a, b)


def logical_not(chip: ChipState, x: Tensor) -> Tensor:
    """1 where x is 0, else 0, in x's dtype."""
    return chip.run(LOGICAL_NOT, (x,))


def isnan(chip: ChipState, x: Tensor) -> Tensor:
    """1 where x is NaN, else 0, in x's dtype."""
    return chip.run(ISNAN, (x,))


def isinf(chip: ChipState, x: Tensor) -> Tensor:
    """1 where x is infinite, else 0, in x's dtype."""
    return chip.run(ISINF, (x,))


def isfinite(chip: ChipState, x: Tensor) -> Tensor:
    """1 where x is neither NaN nor infinite, else 0, in x's dtype."""
    return chip.run(ISFINITE, (x,))


Numbers = tuple[float | None, float | None]  # of a and b, where they are no tensors


def _where_rule(numbers: Numbers, condition: TensorSpec, *specs: TensorSpec) -> Plan:
    tensors = dict(zip(_tensors_of(numbers), specs, strict=True))
    pattern = next(iter(specs), condition)  # whose format the result has
    require_alike(**tensors or {"condition": condition})
    shapes = {name: spec.shape for name, spec in tensors.items()}
    shape = broadcast_shape(condition=condition.shape, **shapes)
    for name, number in zip("ab", numbers, strict=True):
        if number is not None:
            check_scalar(name, number, pattern.dtype)
    output = like(pattern, shape)
    return elementwise_plan(
        output, (condition, *specs), "sfpu", vector_passes("load", "load", "select")
    )


def _tensors_of(numbers: Numbers) -> list[str]:
    return [name for name, number in zip("ab", numbers, strict=True) if number is None]


@quietly
def _where_values(numbers: Numbers, condition: Array, *arrays: Array) -> Array:
    pattern = next(iter(arrays), condition)
    left = iter(arrays)
    a, b = (
        _stored_as(pattern, next(left)) if number is None else stored_scalar(number, pattern)
        for number in numbers
    )
    return np.asarray(np.where(wide(condition) != 0, a, b), order="C")


def _stored_as(pattern: Array, x: Array) -> Array:
    return x if x.dtype == pattern.dtype else narrow(wide(x), pattern)


WHERE = Op("where", _where_rule, _where_values)


def where(chip: ChipState, condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """a where the condition is not 0, b elsewhere (NaN is not 0); the three broadcast.

    The result has the dtype and layout of a, or of b where a is a number, or of the condition.

    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: one of a and b holds floats and the other integers.
        InvalidArgument: a number that the integers of the result cannot hold.
    """
    tensors = tuple(operand for operand in (a, b) if isinstance(operand, Tensor))
    numbers = tuple(None if isinstance(operand, Tensor) else operand for operand in (a, b))
    return chip.run(WHERE, (condition, *tensors), (numbers,))
