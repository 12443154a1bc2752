"""How far one array is from another: correlation, largest error, ULPs, relative RMS."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .dtype import DType
from .errors import InvalidArgument
from .tensor import Array, encode

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """What `found` is beside `expected`.

    Attributes:
        pcc: Pearson's correlation, -1 to 1; None where it is not defined (integers, nothing
            there, or a side that is constant).
        max_abs: the largest absolute error; infinite where one side is NaN or infinite alone.
        max_ulps: the largest error in steps of the output's format between numbers next to each
            other (of integers: 1); None for formats whose step depends on the neighbours.
        relative_rms: RMS of the error over RMS of what was expected; 0.0 when both are zero.
        num_different: elements that are not the expected one, rounded to the output's format.
    """

    pcc: float | None
    max_abs: float
    max_ulps: int | None
    relative_rms: float
    num_different: int

    def within(self, bound: "Bound", is_float: bool = True) -> bool:
        """Is it within the bound? For integers only ULPs count, which are their difference.

        Where floats have no PCC, the relative RMS stands for it: a small error of relative size r
        leaves a correlation of about 1 - r^2 / 2.
        """
        if not is_float:
            return bound.max_ulps is None or self.max_abs <= bound.max_ulps
        if bound.max_ulps is not None and (self.max_ulps or 0) > bound.max_ulps:
            return False
        if bound.relative_rms is not None and self.relative_rms > bound.relative_rms:
            return False
        if bound.pcc is None or self.pcc is None:
            return bound.pcc is None or self.relative_rms <= math.sqrt(2 * (1 - bound.pcc))
        return self.pcc >= bound.pcc


@dataclass(frozen=True, slots=True)
class Bound:
    """What is still right; None: any.

    PCC does not see a factor: 1.5 times the right numbers have a PCC of 1. `relative_rms` does.

    Attributes:
        pcc: the least correlation.
        max_ulps: the largest error, in steps of the output's format.
        relative_rms: the largest relative RMS of the error.
    """

    pcc: float | None = 0.99
    max_ulps: int | None = None
    relative_rms: float | None = 0.3

    def __post_init__(self) -> None:
        if self.pcc is None and self.max_ulps is None and self.relative_rms is None:
            raise InvalidArgument("a bound needs one of pcc, max_ulps and relative_rms")
        if self.pcc is not None and not -1 <= self.pcc <= 1:
            raise InvalidArgument(f"pcc (={self.pcc}) must be within -1 .. 1")
        if self.max_ulps is not None and self.max_ulps < 0:
            raise InvalidArgument(f"max_ulps (={self.max_ulps}) must be >= 0")
        if self.relative_rms is not None and not self.relative_rms >= 0:
            raise InvalidArgument(f"relative_rms (={self.relative_rms}) must be >= 0")

    def __str__(self) -> str:
        words = [] if self.pcc is None else [f"PCC >= {self.pcc:g}"]
        words += [] if self.max_ulps is None else [f"ULPs <= {self.max_ulps}"]
        words += [] if self.relative_rms is None else [f"relative RMS <= {self.relative_rms:g}"]
        return ", ".join(words)


def figures(found: Array, expected: Array, dtype: DType) -> Figures:
    """Compare two arrays of one shape; `dtype` is the format that `found` was made in.

    Equal NaNs and equal infinities count as equal.
    """
    assert found.shape == expected.shape, (found.shape, expected.shape)
    with np.errstate(all="ignore"):
        if not dtype.is_float:
            return _of_integers(found, expected)
        a, b = found.astype(np.float64).reshape(-1), expected.astype(np.float64).reshape(-1)
        finite = np.isfinite(a) & np.isfinite(b)
        odd = ~finite & ~((a == b) | (np.isnan(a) & np.isnan(b)))
        num_odd = int(odd.sum())
        ulps = _ulps(found.reshape(-1)[finite], expected.reshape(-1)[finite], dtype)
        if not finite.all():
            a, b = a[finite], b[finite]
        error = a - b
        different = error != 0 if ulps is None else ulps != 0
        return Figures(
            0.0 if num_odd else _pcc(a, b),
            math.inf if num_odd else float(np.abs(error).max(initial=0.0)),
            None if ulps is None else int(ulps.max(initial=0)),
            math.inf if num_odd else _ratio(_rms(error), _rms(b)),
            int(different.sum()) + num_odd,
        )


def _of_integers(found: Array, expected: Array) -> Figures:
    a, b = found.astype(np.float64), expected.astype(np.float64)
    error = np.abs(a - b)
    worst = float(error.max(initial=0.0))
    return Figures(None, worst, int(worst), _ratio(_rms(error), _rms(b)), int((a != b).sum()))


def _pcc(a: Doubles, b: Doubles) -> float | None:
    if not a.size or a.min() == a.max() or b.min() == b.max():
        return None
    if np.array_equal(a, b):
        return 1.0
    a, b = a - a.mean(), b - b.mean()
    return float(np.clip(a @ b / (math.sqrt(a @ a) * math.sqrt(b @ b)), -1.0, 1.0))


def _rms(values: Doubles) -> float:
    return math.sqrt(float(np.mean(np.square(values)))) if values.size else 0.0


def _ratio(error: float, size: float) -> float:
    if error == 0:
        return 0.0
    return error / size if size else math.inf


def _ulps(found: Array, expected: Array, dtype: DType) -> npt.NDArray[np.int64] | None:
    """Steps between the numbers of the format, the expected ones rounded to it."""
    if dtype not in (DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16):
        return None
    signed = np.dtype(f"i{dtype.itemsize}")
    lowest = int(np.iinfo(signed).min)
    places = []
    for values in (found, expected):
        bits = encode(values, dtype).view(signed).astype(np.int64)
        places.append(np.where(bits < 0, lowest - bits, bits))  # in the order of the numbers
    return np.asarray(np.abs(places[0] - places[1]))
