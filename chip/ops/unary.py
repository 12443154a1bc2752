"""Functions of one tensor, element by element: arithmetic, powers, logarithms, angles, rounding.

bfloat16: the nearest number but for double rounding, from a table; float32: computed in float64 (or
exactly) and rounded once. Infinity and NaN go through as IEEE says; nothing warns. Four of them
take a compute config, which has them computed by a routine of the vector unit: see vector_unit.py.
"""

from collections.abc import Callable

import numpy as np

from ..compute_config import ComputeConfig
from ..errors import InvalidArgument
from ..state import ChipState
from ..tensor import Array, Tensor
from . import erf as error_function
from . import vector_unit
from .pointwise import Pointwise, vector_passes
from .vector_unit import VectorFunction


def _simple(
    name: str, function: Callable[[Array], Array], plain: int = 1, integers: bool = False
) -> Pointwise:
    return Pointwise(name, function, vector_passes(plain=plain), 1, True, integers)


ABS = _simple("abs", np.abs, integers=True).op()
NEG = _simple("neg", np.negative, integers=True).op()
SIGN = _simple("sign", np.sign, 4, integers=True).op()
SQUARE = _simple("square", np.square, integers=True).op()
FLOOR = _simple("floor", np.floor, 6).op()
CEIL = _simple("ceil", np.ceil, 6).op()
TRUNC = _simple("trunc", np.trunc, 5).op()
FRAC = _simple("frac", lambda x: x - np.trunc(x), 6).op()
ROUND = _simple("round", np.rint, 6).op()
RECIPROCAL = VectorFunction.of(
    Pointwise("reciprocal", lambda x: 1 / x, vector_passes("reciprocal"), 1, True),
    vector_unit.RECIPROCAL,
)
SQRT = VectorFunction.of(
    Pointwise("sqrt", np.sqrt, vector_passes("rsqrt", plain=1), 1, True), vector_unit.SQRT
)
RSQRT = VectorFunction.of(
    Pointwise("rsqrt", lambda x: 1 / np.sqrt(x), vector_passes("rsqrt"), 2), vector_unit.RSQRT
)
EXP = VectorFunction.of(Pointwise("exp", np.exp, vector_passes("exp")), vector_unit.EXP)
EXP2 = Pointwise("exp2", np.exp2, vector_passes("exp", plain=1)).op()
EXPM1 = Pointwise("expm1", np.expm1, vector_passes("exp", plain=1)).op()
LOG = Pointwise("log", np.log, vector_passes("log")).op()
LOG2 = Pointwise("log2", np.log2, vector_passes("log", plain=1)).op()
LOG10 = Pointwise("log10", np.log10, vector_passes("log", plain=1)).op()
LOG1P = Pointwise("log1p", np.log1p, vector_passes("log", plain=1)).op()
SIN = Pointwise("sin", np.sin, vector_passes("sine")).op()
COS = Pointwise("cos", np.cos, vector_passes("sine", plain=1)).op()
TAN = Pointwise("tan", np.tan, vector_passes("sine", "reciprocal", plain=4)).op()
ATAN = Pointwise("atan", np.arctan, vector_passes("sine", "reciprocal", plain=4)).op()
SINH = Pointwise("sinh", np.sinh, vector_passes("exp", "exp", plain=3)).op()
COSH = Pointwise("cosh", np.cosh, vector_passes("exp", "exp", plain=3)).op()
ERFC = Pointwise("erfc", error_function.erfc, vector_passes("erf", plain=1)).op()
ERF = Pointwise("erf", error_function.erf, vector_passes("erf")).op()
POW = Pointwise("pow", np.power, vector_passes("log", "exp", plain=1)).op_with_parameters()
CLAMP = Pointwise(
    "clamp",
    lambda x, least, most: np.minimum(np.maximum(x, least), most),
    vector_passes(plain=2),
    2,
    True,
    True,
).op_with_parameters()


def abs(chip: ChipState, x: Tensor) -> Tensor:
    """Drop the sign; the least int32 stays as it is."""
    return chip.run(ABS, (x,))


def neg(chip: ChipState, x: Tensor) -> Tensor:
    """-x; integers wrap."""
    return chip.run(NEG, (x,))


def sign(chip: ChipState, x: Tensor) -> Tensor:
    """-1, 0 or 1."""
    return chip.run(SIGN, (x,))


def square(chip: ChipState, x: Tensor) -> Tensor:
    """x * x; integers wrap."""
    return chip.run(SQUARE, (x,))


def floor(chip: ChipState, x: Tensor) -> Tensor:
    """The largest whole number that is not above x."""
    return chip.run(FLOOR, (x,))


def ceil(chip: ChipState, x: Tensor) -> Tensor:
    """The smallest whole number that is not below x."""
    return chip.run(CEIL, (x,))


def trunc(chip: ChipState, x: Tensor) -> Tensor:
    """The whole number next to x towards zero."""
    return chip.run(TRUNC, (x,))


def frac(chip: ChipState, x: Tensor) -> Tensor:
    """x without its whole part, with x's sign; NaN for infinity."""
    return chip.run(FRAC, (x,))


def round(chip: ChipState, x: Tensor) -> Tensor:
    """The nearest whole number, ties to even."""
    return chip.run(ROUND, (x,))


def reciprocal(chip: ChipState, x: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """1 / x; infinity at 0."""
    return RECIPROCAL.run(chip, x, compute)


def sqrt(chip: ChipState, x: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """The square root; NaN below 0."""
    return SQRT.run(chip, x, compute)


def rsqrt(chip: ChipState, x: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """1 / sqrt(x); infinity at 0, NaN below."""
    return RSQRT.run(chip, x, compute)


def exp(chip: ChipState, x: Tensor, compute: ComputeConfig | None = None) -> Tensor:
    """e to the power of x."""
    return EXP.run(chip, x, compute)


def exp2(chip: ChipState, x: Tensor) -> Tensor:
    """2 to the power of x."""
    return chip.run(EXP2, (x,))


def expm1(chip: ChipState, x: Tensor) -> Tensor:
    """exp(x) - 1, exact near 0."""
    return chip.run(EXPM1, (x,))


def log(chip: ChipState, x: Tensor) -> Tensor:
    """The natural logarithm; -infinity at 0, NaN below."""
    return chip.run(LOG, (x,))


def log2(chip: ChipState, x: Tensor) -> Tensor:
    """The logarithm to base 2."""
    return chip.run(LOG2, (x,))


def log10(chip: ChipState, x: Tensor) -> Tensor:
    """The logarithm to base 10."""
    return chip.run(LOG10, (x,))


def log1p(chip: ChipState, x: Tensor) -> Tensor:
    """log(1 + x), exact near 0."""
    return chip.run(LOG1P, (x,))


def sin(chip: ChipState, x: Tensor) -> Tensor:
    """The sine of an angle in radians."""
    return chip.run(SIN, (x,))


def cos(chip: ChipState, x: Tensor) -> Tensor:
    """The cosine of an angle in radians."""
    return chip.run(COS, (x,))


def tan(chip: ChipState, x: Tensor) -> Tensor:
    """The tangent of an angle in radians."""
    return chip.run(TAN, (x,))


def atan(chip: ChipState, x: Tensor) -> Tensor:
    """The angle, in radians, whose tangent is x."""
    return chip.run(ATAN, (x,))


def sinh(chip: ChipState, x: Tensor) -> Tensor:
    """The hyperbolic sine."""
    return chip.run(SINH, (x,))


def cosh(chip: ChipState, x: Tensor) -> Tensor:
    """The hyperbolic cosine."""
    return chip.run(COSH, (x,))


def erfc(chip: ChipState, x: Tensor) -> Tensor:
    """1 - erf(x), exact for large x; 0 beyond 26."""
    return chip.run(ERFC, (x,))


def erf(chip: ChipState, x: Tensor) -> Tensor:
    """The error function."""
    return chip.run(ERF, (x,))


def pow(chip: ChipState, x: Tensor, exponent: float) -> Tensor:
    """x to the power of a plain number; NaN for a negative x and an exponent that is not whole."""
    return chip.run(POW, (x,), (float(exponent),))


def clamp(chip: ChipState, x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """Bring what lies outside min .. max to the nearer bound; None: no bound. NaN stays NaN.

    Raises:
        InvalidArgument: min is above max.
    """
    least, most = -np.inf if min is None else min, np.inf if max is None else max
    if not least <= most:
        raise InvalidArgument(
            f"min (={min}) must not be above max (={max}) (nearest: {max})", "clamp", chip.rank
        )
    return chip.run(CLAMP, (x,), (least, most))
