"""The number formats of a tensor's elements, and how each is stored on the host."""

from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import DTypeError, did_you_mean, nearest_name


class DType(Enum):
    """A number format. bfloat16 is stored as 16-bit words: the upper halves of float32 numbers.

    Every format can be kept, moved between chips and typecast; `computes` says whether the other
    ops take it.
    """

    FLOAT32 = ("float32", np.float32, True, True)
    BFLOAT16 = ("bfloat16", np.uint16, True, True)
    INT32 = ("int32", np.int32, False, True)
    UINT32 = ("uint32", np.uint32, False, True)
    FLOAT16 = ("float16", np.float16, True, False)
    INT8 = ("int8", np.int8, False, False)
    UINT8 = ("uint8", np.uint8, False, False)

    def __init__(
        self, label: str, storage: type[np.generic], is_float: bool, computes: bool
    ) -> None:
        self.label = label
        self.computes = computes
        self.numpy: np.dtype[Any] = np.dtype(storage)
        self.itemsize = self.numpy.itemsize
        self.is_float = is_float

    def __str__(self) -> str:
        return self.label

    @classmethod
    def parse(cls, name: "str | DType") -> "DType":
        """The format of a name such as "bfloat16" or "bf16".

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
        hint = did_you_mean(nearest_name(wanted, known))
        raise DTypeError(f"unknown dtype {name!r}{hint} Known: {', '.join(known)}.")

    @classmethod
    def of(cls, array: npt.NDArray[Any]) -> "DType":
        """The format of a numpy array when none is stated: float32, int32 or uint32.

        Raises:
            DTypeError: uint16, which may be bfloat16 words or numbers, and types that are no
                numbers.
        """
        if array.dtype.kind == "f":
            return cls.FLOAT32
        if array.dtype == np.uint32:
            return cls.UINT32
        if array.dtype == np.uint16:
            raise DTypeError("a uint16 array: say dtype=BFLOAT16 (words) or dtype=UINT32 (numbers)")
        if array.dtype.kind in "iu":
            return cls.INT32
        raise DTypeError(f"a numpy array of {array.dtype} (expected floats or integers)")


_ALIASES = {
    "bf16": "bfloat16",
    "f16": "float16",
    "fp16": "float16",
    "half": "float16",
    "f32": "float32",
    "fp32": "float32",
    "float": "float32",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "u32": "uint32",
}
