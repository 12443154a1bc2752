"""The number formats of a tensor's elements, and how each is stored on the host."""

import math
from enum import Enum
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import DTypeError, did_you_mean, nearest_name

BLOCK = 16  # elements of a row that share an exponent in a block float


class BlockFloat(NamedTuple):
    """What a block float keeps of an element: a sign and a magnitude without a hidden bit.

    `exponent_bias` is 127 (8-bit exponents, "b") or 15 (5-bit exponents, "a").
    """

    magnitude_bits: int
    exponent_bias: int

    @property
    def mantissa_bytes(self) -> int:
        """Bytes of the 16 signed magnitudes of a block; its exponent is one byte more."""
        return BLOCK * (1 + self.magnitude_bits) // 8

    @property
    def block_bytes(self) -> int:
        """Bytes of a block: its exponent and its magnitudes."""
        return 1 + self.mantissa_bytes

    def blocks(self, length: int) -> int:
        """Blocks of a row of so many elements; the last one is padded with zeros."""
        return -(-length // BLOCK)


class DType(Enum):
    """A number format.

    Attributes:
        numpy: the type of the storage: an array of the tensor's shape; for a block float the bytes
            of its rows (`storage_shape`). bfloat16 is 16-bit words, the upper halves of float32
            numbers; fp8_e4m3 is its codes; tf32 is float32 with 13 low bits of zero.
        itemsize: bytes of an element of the storage.
        block: the block float that it is, or None.
    """

    FLOAT32 = ("float32", np.float32, True, None)
    TF32 = ("tf32", np.float32, True, None)
    BFLOAT16 = ("bfloat16", np.uint16, True, None)
    FLOAT16 = ("float16", np.float16, True, None)
    FP8_E4M3 = ("fp8_e4m3", np.uint8, True, None)
    BFP8_B = ("bfp8_b", np.uint8, True, BlockFloat(7, 127))
    BFP4_B = ("bfp4_b", np.uint8, True, BlockFloat(3, 127))
    BFP2_B = ("bfp2_b", np.uint8, True, BlockFloat(1, 127))
    BFP8_A = ("bfp8_a", np.uint8, True, BlockFloat(7, 15))
    BFP4_A = ("bfp4_a", np.uint8, True, BlockFloat(3, 15))
    BFP2_A = ("bfp2_a", np.uint8, True, BlockFloat(1, 15))
    INT32 = ("int32", np.int32, False, None)
    UINT32 = ("uint32", np.uint32, False, None)
    INT16 = ("int16", np.int16, False, None)
    UINT16 = ("uint16", np.uint16, False, None)
    INT8 = ("int8", np.int8, False, None)
    UINT8 = ("uint8", np.uint8, False, None)

    __hash__ = object.__hash__

    def __init__(
        self, label: str, storage: type[np.generic], is_float: bool, block: BlockFloat | None
    ) -> None:
        self.label = label
        self.numpy: np.dtype[Any] = np.dtype(storage)
        self.itemsize = self.numpy.itemsize
        self.is_float = is_float
        self.block = block

    def __str__(self) -> str:
        return self.label

    @property
    def computed_as(self) -> "DType":
        """The format that ops compute in for this one: float32, bfloat16, int32 or uint32."""
        return _COMPUTED_AS.get(self, self)

    @property
    def computes(self) -> bool:
        """Do ops compute in this very format? Others are converted before and after."""
        return self.computed_as is self

    def row_bytes(self, length: int) -> int:
        """Bytes of a row of so many elements as the host stores it."""
        if self.block is None:
            return length * self.itemsize
        return self.block.blocks(length) * self.block.block_bytes

    def storage_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the storage of a tensor of that shape."""
        if self.block is None:
            return shape
        return (*shape[:-1], self.row_bytes(shape[-1] if shape else 1))

    def num_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor of that shape as the host stores it."""
        return math.prod(self.storage_shape(shape)) * self.itemsize

    @classmethod
    def parse(cls, name: "str | DType") -> "DType":
        """The format of a name such as "bfloat16", "bf16" or ttnn's "bfloat8_b".

        Raises:
            DTypeError: no format has that name; the nearest one is named.
        """
        if isinstance(name, DType):
            return name
        wanted = _ALIASES.get(name.lower(), name.lower())
        for dtype in cls:
            if dtype.label == wanted:
                return dtype
        known = [dtype.label for dtype in cls]
        hint = did_you_mean(nearest_name(name.lower(), [*known, *_ALIASES]))
        raise DTypeError(f"unknown dtype {name!r}{hint} Known: {', '.join(known)}.")

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> "DType":
        """The format of a numpy array when none is stated.

        float32, int32 or uint32; bfloat16 and fp8_e4m3 for the types of that name in ml_dtypes.

        Raises:
            DTypeError: uint16, which may be bfloat16 words or numbers, and types that are no
                numbers.
        """
        if array.dtype.name in FOREIGN_FLOATS:
            return FOREIGN_FLOATS[array.dtype.name]
        if array.dtype.kind == "f":
            return cls.FLOAT32
        if array.dtype == np.uint32:
            return cls.UINT32
        if array.dtype == np.uint16:
            raise DTypeError("a uint16 array: say dtype=BFLOAT16 (words) or dtype=UINT32 (numbers)")
        if array.dtype.kind in "iu":
            return cls.INT32
        raise DTypeError(f"a numpy array of {array.dtype} (expected floats or integers)")


_COMPUTED_AS = {
    **{dtype: DType.BFLOAT16 for dtype in DType if dtype.block},
    **dict.fromkeys((DType.TF32, DType.FLOAT16, DType.FP8_E4M3), DType.FLOAT32),
    **dict.fromkeys((DType.INT16, DType.INT8), DType.INT32),
    **dict.fromkeys((DType.UINT16, DType.UINT8), DType.UINT32),
}

FOREIGN_FLOATS: Final = {"bfloat16": DType.BFLOAT16, "float8_e4m3fn": DType.FP8_E4M3}
"""numpy types that ml_dtypes adds, by name: their bytes are our storage."""

SAFETENSORS: Final = {
    "F32": DType.FLOAT32,
    "F16": DType.FLOAT16,
    "BF16": DType.BFLOAT16,
    "F8_E4M3": DType.FP8_E4M3,
    "I32": DType.INT32,
    "U32": DType.UINT32,
    "I16": DType.INT16,
    "U16": DType.UINT16,
    "I8": DType.INT8,
    "U8": DType.UINT8,
}
"""The dtype words of safetensors files whose bytes are our storage."""

_ALIASES = {
    "bf16": "bfloat16",
    "f16": "float16",
    "fp16": "float16",
    "half": "float16",
    "f32": "float32",
    "fp32": "float32",
    "float": "float32",
    "tfloat32": "tf32",
    "fp8": "fp8_e4m3",
    "e4m3": "fp8_e4m3",
    "float8_e4m3": "fp8_e4m3",
    "float8_e4m3fn": "fp8_e4m3",
    **{f"{short}{n}{end}": f"bfp{n}_b" for short in ("bfp", "bf", "bfloat")
       for n in (8, 4, 2) for end in ("", "_b")},
    **{f"{short}{n}_a": f"bfp{n}_a" for short in ("bf", "bfloat") for n in (8, 4, 2)},
    **{f"{sign}{bits}": f"{word}{bits}" for sign, word in (("i", "int"), ("u", "uint"))
       for bits in (8, 16, 32)},
}  # fmt: skip
