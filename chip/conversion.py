"""What stands around the values of an op: inputs unpacked to what it computes in, outputs packed.

An op computes in float32, bfloat16 words, int32 or uint32 (`DType.computed_as`). Block floats come
and go through bfloat16 words, as the chip's unpacker and packer have it; float16, fp8_e4m3 and tf32
through float32; small integers through 32-bit ones, and they wrap.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from .dtype import DType
from .formats.codec import pack, unpack
from .tensor import Array, TensorSpec

Values = Callable[..., Any]
Native = frozenset[DType] | tuple[frozenset[DType], ...]

COMPUTED: Final = frozenset(dtype for dtype in DType if dtype.computes)
"""The formats that ops compute in."""
EVERY: Final = frozenset(DType)
_ONE_ITEM_AN_ELEMENT: Final = frozenset(dtype for dtype in DType if not dtype.block)


def converting(
    values: Values,
    native: Native,
    any_dtype: bool,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> Values:
    """The values of an op, with the conversions that these inputs and outputs need.

    `values` itself where there are none, so that the formats that ops compute in cost nothing.
    """
    sets = native if isinstance(native, tuple) else (native,)
    if any_dtype:
        sets = tuple(kinds | _ONE_ITEM_AN_ELEMENT for kinds in sets)
    packed = [
        spec.dtype not in sets[min(index, len(sets) - 1)] for index, spec in enumerate(inputs)
    ]
    if not any(packed) and all(spec.dtype in sets[0] for spec in outputs):
        return values
    return _Converted(values, inputs, packed, outputs)


class _Converted:
    """The values of an op between conversions."""

    def __init__(
        self,
        values: Values,
        inputs: Sequence[TensorSpec],
        packed: Sequence[bool],
        outputs: Sequence[TensorSpec],
    ) -> None:
        self.values, self.outputs = values, tuple(outputs)
        self.inputs, self.packed = tuple(inputs), tuple(packed)

    def __call__(self, *args: Any) -> Any:
        first = len(args) - len(self.inputs)
        arrays = [
            unpack(storage, spec.dtype, spec.shape) if packed else storage
            for storage, spec, packed in zip(args[first:], self.inputs, self.packed, strict=True)
        ]
        result = self.values(*args[:first], *arrays)
        if not self.outputs:
            if self.packed[0]:
                args[first][...] = pack(arrays[0], self.inputs[0].dtype)
            return result
        if not isinstance(result, tuple):
            return _packed(result, self.outputs[0])
        return tuple(map(_packed, result, self.outputs))


def _packed(result: Array, spec: TensorSpec) -> Array:
    """What an op computed, as its output is stored; storage already if the op made that."""
    if result.dtype == spec.dtype.numpy and spec.dtype is not DType.TF32:
        return result
    return pack(result, spec.dtype)
