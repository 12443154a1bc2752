"""Arithmetic on two operands, element by element; the second may be a plain number."""

from collections.abc import Sequence

import numpy as np

from .. import kernels
from ..dtype import DType
from ..state import ChipState
from ..tensor import Tensor
from .broadcast import Binary, Operand
from .pointwise import vector_passes

ADD = Binary("add", np.add, kernel=kernels.add)
SUB = Binary("sub", np.subtract)
RSUB = Binary("rsub", lambda a, b: b - a)
MUL = Binary("mul", np.multiply, kernel=kernels.mul)
DIV = Binary("div", np.divide, "sfpu", vector_passes("load", "divide"), takes="floats")
MAXIMUM = Binary("maximum", np.maximum, "sfpu", vector_passes("load", plain=1))
MINIMUM = Binary("minimum", np.minimum, "sfpu", vector_passes("load", plain=1))
REMAINDER = Binary(
    "remainder", np.remainder, "sfpu", vector_passes("load", "divide", plain=8), takes="floats"
)
SQUARED_DIFFERENCE = Binary("squared_difference", lambda a, b: np.square(a - b), passes=2)
ADD_TENSORS, MUL_TENSORS = ADD.plain, MUL.plain


def add(
    chip: ChipState,
    a: Tensor,
    b: Operand,
    activations: Sequence[str] = (),
    a_activations: Sequence[str] = (),
    dtype: DType | str | None = None,
) -> Tensor:
    """a + b: shapes broadcast as in numpy; the result has a's dtype and layout. Integers wrap.

    A plain number is taken in a's format, as ttnn does: beside bfloat16 it is rounded to bfloat16.

    Args:
        activations: functions applied to the sum before it is rounded: "relu", "relu6", "silu",
            "sigmoid", "tanh", "gelu", "gelu_tanh".
        a_activations: functions applied to a first, each rounded to a's format.
        dtype: another float format for the result.
    Raises:
        ShapeError: the shapes do not broadcast.
        DTypeError: floats meet integers, or integers activations.
        InvalidArgument: an unknown activation, or a number that a's integers cannot hold.
    """
    if type(b) is Tensor and not (activations or a_activations or dtype):
        return chip.run(ADD_TENSORS, (a, b))  # as ADD.run would; a small call is 7 % faster
    return ADD.run(chip, a, b, activations, a_activations, dtype)


def sub(
    chip: ChipState,
    a: Tensor,
    b: Operand,
    activations: Sequence[str] = (),
    a_activations: Sequence[str] = (),
    dtype: DType | str | None = None,
) -> Tensor:
    """a - b; see `add`."""
    return SUB.run(chip, a, b, activations, a_activations, dtype)


def rsub(
    chip: ChipState,
    a: Tensor,
    b: Operand,
    activations: Sequence[str] = (),
    a_activations: Sequence[str] = (),
    dtype: DType | str | None = None,
) -> Tensor:
    """b - a, in a's dtype; see `add`."""
    return RSUB.run(chip, a, b, activations, a_activations, dtype)


def mul(
    chip: ChipState,
    a: Tensor,
    b: Operand,
    activations: Sequence[str] = (),
    a_activations: Sequence[str] = (),
    dtype: DType | str | None = None,
) -> Tensor:
    """a * b; see `add`."""
    if type(b) is Tensor and not (activations or a_activations or dtype):
        return chip.run(MUL_TENSORS, (a, b))  # as MUL.run would; a small call is 7 % faster
    return MUL.run(chip, a, b, activations, a_activations, dtype)


def div(
    chip: ChipState,
    a: Tensor,
    b: Operand,
    activations: Sequence[str] = (),
    a_activations: Sequence[str] = (),
    dtype: DType | str | None = None,
) -> Tensor:
    """a / b for floats; infinity or NaN where b is 0; see `add`."""
    return DIV.run(chip, a, b, activations, a_activations, dtype)


def maximum(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """The larger of each pair, NaN if one is; shapes, numbers and errors as in `add`."""
    return MAXIMUM.run(chip, a, b)


def minimum(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """The smaller of each pair, NaN if one is; shapes, numbers and errors as in `add`."""
    return MINIMUM.run(chip, a, b)


def remainder(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """a - b * floor(a / b) for floats, which has the sign of b; the rest as in `add`."""
    return REMAINDER.run(chip, a, b)


def squared_difference(chip: ChipState, a: Tensor, b: Operand) -> Tensor:
    """(a - b) ** 2; shapes, numbers and errors as in `add`."""
    return SQUARED_DIFFERENCE.run(chip, a, b)
