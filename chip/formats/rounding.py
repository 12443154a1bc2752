"""How a number is made to fit a format: as a host does it, or as a chip's packer.

Host: to nearest, ties to even; denormals and NaN stay (NaN as one quiet NaN). A block float drops
the bits that leave an element's 24-bit significand first, and rounds what is left.

Packer: to nearest, ties away from zero; denormals and -0 become +0, NaN becomes infinity. Block
floats come by way of bfloat16, which truncates, and bfp4 and bfp2 are bfp8 with bits cut off.
Before that the packer may round once more, to 8 exponent and 6 mantissa bits (E8M6): then values
are rounded twice. ttnn asks for that unless `bfp8_pack_precise` is set; typecast sets it.

Truncate: floats that become integers on the host: fractions are cut off. Integer formats only.

Source: tt-isa-documentation, Packers/FormatConversion.md; ttnn 0.81.1 (host). Assumed, as not
    documented: a magnitude that rounds beyond its bits stays the largest one, and float16 and
    fp8_e4m3 round as the packer's early step does, with infinity beyond the range of float16.
"""

from enum import Enum

import numpy as np
import numpy.typing as npt

from ..errors import InvalidArgument


class Rounding(Enum):
    """How conversions round; see the module."""

    NEAREST_EVEN = "nearest_even"
    PACKER = "packer"
    PACKER_TWICE = "packer_twice"  # with the early step to E8M6, for block floats
    TRUNCATE = "truncate"  # of floats to an integer format

    __hash__ = object.__hash__

    @classmethod
    def parse(cls, name: "str | Rounding") -> "Rounding":
        """The rounding of that name.

        Raises:
            InvalidArgument: there is none.
        """
        try:
            return cls(name)
        except ValueError:
            legal = ", ".join(repr(kind.value) for kind in cls)
            raise InvalidArgument(f"rounding (={name!r}) must be one of {legal}") from None

    def check(self, is_float: bool) -> None:
        """Raise InvalidArgument for a format, of floats or not, that is not rounded so."""
        if is_float and self is Rounding.TRUNCATE:
            raise InvalidArgument("rounding='truncate' is for integer formats (expected another)")


def round_away(x: npt.NDArray[np.float32], kept_bits: int) -> npt.NDArray[np.float32]:
    """The packer's early step: keep so many mantissa bits of float32 numbers, ties away from zero.

    Denormals and zeros give +0, NaN gives infinity of its sign.
    """
    bits = x.view(np.uint32)
    dropped = 23 - kept_bits
    magnitude = bits & np.uint32(0x7FFFFFFF)
    rounded = (magnitude + np.uint32(1 << (dropped - 1))) >> dropped << dropped
    rounded = np.minimum(rounded, np.uint32(0x7F800000)) | (bits & np.uint32(0x80000000))
    result: npt.NDArray[np.float32] = np.where(magnitude < 0x00800000, np.uint32(0), rounded).view(
        np.float32
    )
    return result


def round_tf32(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """float32 to tf32 (10 mantissa bits) to nearest even; NaN becomes one quiet NaN."""
    bits = x.view(np.uint32)
    rounded = (bits + (np.uint32(0xFFF) + ((bits >> 13) & np.uint32(1)))) & np.uint32(0xFFFFE000)
    return np.where(np.isnan(x), np.uint32(0x7FC00000), rounded).view(np.float32)
