"""Functions as routines of the vector unit compute them, approximate or not: float32 to float32.

Each follows, step by step, the routine that Tenstorrent's kernels run on Blackhole. Rounding to the
format of the result is left to the caller, except where it is part of the routine (_bfloat16).

A multiply-add is taken as fused and rounded once, to nearest even. The unit keeps fewer bits of the
product than that, so the last bit of a result may differ. Subnormal operands and results are zero.

Sources: tt-llk 36b092e8 tt_llk_blackhole/common/inc/sfpu/ckernel_sfpu_{exp,recip,sqrt,gelu,sigmoid,
tanh}.h; tt-isa-documentation BlackholeA0/TensixTile/TensixCoprocessor: SFPARECIP.md 585749d1,
SFPMAD.md 241b4eaf, SFPSTOCHRND_FloatInt.md 585749d1, SFPSTOCHRND_FloatFloat.md 13547104; WormholeB0
SFPLUT.md and SFPLUTFP32.md 39304719.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .special import flush, pack
from .tensor import Floats

Bits = npt.NDArray[np.uint32]
Number = Floats | float

INF = 0x7F800000
FRACTION = 0x007FFFFF
SIGN = 0x80000000
INV_LN2 = 1.4426950408889634


def _lanes(function: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """The function for arrays of any shape; nobody is warned of overflow or NaN."""

    def over_lanes(x: Floats) -> Floats:
        given = np.ascontiguousarray(x, np.float32)
        with np.errstate(all="ignore"):
            return flush(function(flush(given.reshape(-1)))).reshape(np.shape(x))

    over_lanes.__name__, over_lanes.__doc__ = function.__name__, function.__doc__
    return over_lanes


def _bits(x: Floats) -> Bits:
    return np.ascontiguousarray(x).view(np.uint32)


def _float(bits: npt.NDArray[np.integer]) -> Floats:
    return np.asarray(bits).astype(np.uint32).view(np.float32)


def _mad(a: Number, b: Number, c: Number) -> Floats:
    """a * b + c, rounded once."""
    a64, b64, c64 = (np.asarray(x, np.float32).astype(np.float64) for x in (a, b, c))
    result = flush(np.asarray(a64 * b64 + c64).astype(np.float32))
    result[np.isnan(result)] = np.nan  # of positive sign, which reciprocal_bfloat16 relies on
    return result


def _polynomial(x: Floats, *coefficients: float) -> Floats:
    """Horner's form; the constant first."""
    *others, value = coefficients
    result: Number = np.full_like(x, value)
    for coefficient in reversed(others):
        result = _mad(result, x, coefficient)
    return np.asarray(result)


def _to_bfloat16(x: Floats) -> Floats:
    """Ties away from zero; NaN becomes inf: SFPSTOCHRND to nearest."""
    return _float(pack(x, to_words=True).astype(np.uint32) << np.uint32(16))


# ---- exponential


@_lanes
def exp_approx(x: Floats) -> Floats:
    """e**x within 4 %: a line of slope 1/ln 2 read as exponent and fraction (Schraudolph 1999).

    Below -87.4 it is 0. From 88.8 on, and of NaN, it is NaN.
    """
    low = np.where(x < -88.5, np.float32(-88.5), x)
    line = np.abs(_mad(low, 256 * INV_LN2, 32500.818359375).astype(np.float64))
    whole = np.where(line < 65535, np.floor(line + 0.5), 65535)
    whole[np.isnan(line)] = 65535
    whole[line < 0.5] = 0
    return _float(whole.astype(np.uint32) << np.uint32(15))


@_lanes
def exp_bfloat16(x: Floats) -> Floats:
    """e**x rounded to bfloat16 (Moroz et al. 2022, exp_21f): exp for a bfloat16 accumulator.

    NaN and all from 88.8 on give inf.
    """
    line = _mad(x, 1.4426950216293334961, 127.0)
    line = np.where(line < 255, np.maximum(line, 0), np.float32(255))
    bits = _bits(line.astype(np.float32))
    exponent = (bits >> np.uint32(23)).astype(np.int64) - 127
    one = ((bits & FRACTION) | 0x00800000).astype(np.int64)
    left, right = np.maximum(exponent, 0), np.clip(-exponent, 0, 31)
    fixed = one << left >> right
    fraction = (fixed & FRACTION).astype(np.float32)
    power = _polynomial(fraction, 1.0017248, 7.839635491371155e-08, 4.791750143340323e-15)
    return _to_bfloat16(_float((fixed >> 23 << 23) | (_bits(power) & FRACTION)))


@_lanes
def exp_float32(x: Floats) -> Floats:
    """e**x, good to the last bit or so: exp for a float32 accumulator."""
    scaled = _mad(x, INV_LN2, 0.0)
    count = np.rint(np.where(np.abs(scaled) < 256, scaled, 0)).astype(np.float32)
    rest = _mad(count, -3.19461832987e-05, _mad(count, -0.6931152343750000, x))
    power = _polynomial(rest, 1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720, 1 / 5040)
    bits = _bits(power).astype(np.int64) + (count.astype(np.int64) << 23)
    result = np.where(scaled >= 128, np.float32(np.inf), _float(bits & 0xFFFFFFFF))
    result[scaled <= -127] = 0
    result[np.isnan(scaled)] = np.nan
    return result


# ---- reciprocal


@_lanes
def reciprocal_approx(x: Floats) -> Floats:
    """1 / x to 7 bits, from SFPARECIP's table; 0 gives inf and 2**126 or more gives 0."""
    bits = _bits(x) & ~np.uint32(SIGN)
    middle = ((bits >> np.uint32(16)) & np.uint32(0x7F)) + 128.5  # of the inputs of one entry
    entry = np.rint(32768 / middle - 128).astype(np.int64)  # the documented table, entry by entry
    result = ((253 - (bits >> np.uint32(23)).astype(np.int64)) << 23) | (entry << 16)
    result[bits < 0x00800000] = INF
    result[bits >= 0x7E800000] = 0
    return _float(result | (_bits(x) & np.uint32(SIGN)))


@_lanes
def reciprocal_float32(x: Floats) -> Floats:
    """1 / x: the approximation times 1 + e + e^2 + e^3, where e is its error."""
    y = reciprocal_approx(x)
    error = _mad(-x, y, 1.0)
    series = _mad(_mad(error, error, error), error, error)
    return _mad(np.fmin(series, np.float32(1)), y, y)


@_lanes
def reciprocal_bfloat16(x: Floats) -> Floats:
    """1 / x of a bfloat16 number, a bfloat16 number: the approximation, its last bit corrected."""
    guess = _bits(reciprocal_approx(x)) | np.uint32(0x8000)
    error = _mad(x, _float(guess), -1.0)
    return _float((guess + (_bits(error) >> np.uint32(16))) & np.uint32(0xFFFF0000))


# ---- square root


@_lanes
def sqrt_approx(x: Floats) -> Floats:
    """The square root to 10 bits; of a negative number NaN."""
    guess, c = _root_guess(x, 0x5F0B3892)
    root = np.where(np.isinf(x), c, _mad(c, _mad(-guess, c, 1.89099014875), 0.0))
    return np.where(x < 0, np.float32(np.nan), root)


@_lanes
def rsqrt_approx(x: Floats) -> Floats:
    """1 / sqrt(x) to 10 bits; 0 gives inf and inf gives 0."""
    guess, c = _root_guess(x, 0x5F0B3892)
    return _inverse_root(x, _mad(guess, _mad(-guess, c, 1.89099014875), 0.0))


@_lanes
def sqrt_float32(x: Floats) -> Floats:
    """The square root to 23 bits; of a negative number NaN."""
    y = _better_guess(x)
    root = _mad(x, y, 0.0)
    error = _mad(-y, root, 1.0)
    root = np.where(np.isinf(x), root, _mad(error, _mad(0.5, root, 0.0), root))
    return np.where(x < 0, np.float32(np.nan), root)


@_lanes
def rsqrt_float32(x: Floats) -> Floats:
    """1 / sqrt(x) to 23 bits; 0 gives inf and inf gives 0."""
    y = _better_guess(x)
    error = _mad(-y, _mad(x, y, 0.0), 1.0)
    return _inverse_root(x, _mad(error, _mad(0.5, y, 0.0), y))


def _root_guess(x: Floats, magic: int) -> tuple[Floats, Floats]:
    """A first 1 / sqrt(x) by halving the exponent, and x times it."""
    guess = _float(np.uint32(magic) - (_bits(x) >> np.uint32(1)))
    return guess, _mad(x, guess, 0.0)


def _better_guess(x: Floats) -> Floats:
    guess, product = _root_guess(x, 0x5F1110A0)
    c = _mad(-guess, product, 0.0)
    return _mad(guess, _mad(c, _mad(1.0, c, 2.2533049), 2.2825186), 0.0)


def _inverse_root(x: Floats, root: Floats) -> Floats:
    at_ends = (_bits(x) == 0) | (_bits(x) == INF)
    root = np.where(at_ends, _float(np.uint32(INF) - _bits(x)), root)
    return np.where(x < 0, np.float32(np.nan), root)


# ---- piecewise lines (SFPLUT, SFPLUTFP32)

_SIX = (0.5, 1.0, 1.5, 2.0)  # where six lines meet; the last two at 3 or at 4


def _lines(x: Floats, ends: tuple[float, ...], slopes: Floats, offsets: Floats) -> Floats:
    """slope * |x| + offset of the piece that |x| lies in."""
    size = np.abs(x)
    piece = np.searchsorted(np.array(ends, np.float32), size, side="right")
    return _mad(slopes[piece], size, offsets[piece])


def _halves(*words: int) -> Floats:
    """The table's 16-bit floats: no subnormals, and the exponent of inf makes a zero."""
    half = np.array(words, np.uint32)
    exponent = (half >> np.uint32(10)) & np.uint32(0x1F)
    field = np.where(exponent == 0x1F, 0, exponent + 112).astype(np.uint32)
    return _float((half >> 15 << 31) | (field << np.uint32(23)) | ((half & 0x3FF) << 13))


_GELU = (
    _halves(0x322B, 0x37E7, 0x38F3, 0x38E1, 0x3852, 0x3800),
    _halves(0x86D8, 0xB122, 0xB479, 0xB437, 0xAFA4, 0x7C00),
)
_SIGMOID = (
    _halves(0x33D9, 0x32F4, 0x318A, 0x300A, 0x2A35, 0x7C00),
    _halves(0x9018, 0x23C8, 0x2BAA, 0x3027, 0x34CC, 0x37FF),
)
_TANH = (
    np.array([0.90625, 0.09375, 0], np.float32),
    np.array([0, 0.8125, 1], np.float32),
)


@_lanes
def gelu_approx(x: Floats) -> Floats:
    """x * Phi(x) as x / 2 and an even function of six lines."""
    return _mad(0.5, x, _lines(x, (*_SIX, 3.0), *_GELU))


@_lanes
def sigmoid_approx(x: Floats) -> Floats:
    """1 / (1 + e**-x) as 1 / 2 and an odd function of six lines."""
    return _mad(1.0, np.copysign(_lines(x, (*_SIX, 4.0), *_SIGMOID), x), 0.5)


@_lanes
def tanh_approx(x: Floats) -> Floats:
    """tanh as an odd function of three lines."""
    return np.copysign(_lines(x, (1.0, 2.0), *_TANH), x)
