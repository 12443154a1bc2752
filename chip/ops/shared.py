"""What the ops share: checks of shapes and formats, and the way in and out of float32."""

import math
from collections.abc import Callable

import numpy as np

from .. import kernels
from ..cost import Work, WorkKind
from ..dtype import DType
from ..errors import DTypeError, InvalidArgument, ShapeError
from ..memory.config import Buffer
from ..state import Plan
from ..tensor import TILE, Array, Floats, Layout, Shape, TensorSpec, tensor_spec

WORDS = np.uint16  # how bfloat16 is stored


def wide(x: Array) -> Floats:
    """The values as float32: bfloat16 words widened into a new array, float32 as it is."""
    if x.itemsize != 2:
        return x
    out = np.empty(x.shape, np.float32)
    kernels.widen(x, out)
    return out


def narrow(result: Floats, like: Array) -> Array:
    """A float32 result in the format of `like`: rounded to nearest even for bfloat16."""
    if like.itemsize != 2:
        return result
    out = np.empty(result.shape, WORDS)
    kernels.round_words(np.asarray(result, order="C"), out)
    return out


def computes_in_words(dtype: DType) -> bool:
    """Whether ops hold the numbers of a float format as bfloat16 words, or else as float32."""
    return dtype.computed_as is DType.BFLOAT16


def require_float(**specs: TensorSpec) -> None:
    """Raise DTypeError unless every input named holds floats."""
    for name, spec in specs.items():
        if not spec.dtype.is_float:
            raise DTypeError(f"{name} is {spec.dtype} (expected bfloat16 or float32)")


def require_rank(rank: int, **specs: TensorSpec) -> None:
    """Raise ShapeError unless every input named has this many dims."""
    for name, spec in specs.items():
        if len(spec.shape) != rank:
            raise ShapeError(f"{name} has shape {spec.shape} (expected {rank} dims)")


def require_integers(**specs: TensorSpec) -> None:
    """Raise DTypeError unless every input named holds integers."""
    for name, spec in specs.items():
        if spec.dtype.is_float:
            raise DTypeError(f"{name} is {spec.dtype} (expected int32 or uint32)")


def require_tiles(**specs: TensorSpec) -> None:
    """Raise InvalidArgument unless every input named lies in tiles."""
    for name, spec in specs.items():
        if spec.layout is not Layout.TILE:
            raise InvalidArgument(f"{name} is {spec.layout.value} (expected tiles: see to_layout)")


def normal_dim(dim: int, shape: Shape) -> int:
    """The dim counted from the front: -1 is the last.

    Raises:
        ShapeError: the shape has no such dim.
    """
    if not shape:
        raise ShapeError(f"dim (={dim}) of shape (), which has none")
    least, most = -len(shape), len(shape) - 1
    if not least <= dim <= most:
        raise ShapeError(
            f"dim (={dim}) must be within {least} .. {most} for shape {shape} "
            f"(nearest: {min(max(dim, least), most)})"
        )
    return dim % len(shape)


def like(
    spec: TensorSpec, shape: Shape, dtype: DType | None = None, layout: Layout | None = None
) -> TensorSpec:
    """Another shape (number format, layout) in what else `spec` says.

    Shards stay where the shape stays; another shape is interleaved over the same memory.
    """
    memory = spec.memory_for(shape)
    return tensor_spec(shape, dtype or spec.dtype, layout or spec.layout, memory)


def elementwise_plan(
    output: TensorSpec,
    inputs: tuple[TensorSpec, ...],
    kind: WorkKind = "eltwise",
    passes: int = 1,
    flops: int = 1,
    num_parallel: int | None = None,
) -> Plan:
    """The plan of `passes` tile operations for each tile of the output, `flops` an element."""
    work = Work(
        kind=kind,
        flops=flops * output.size,
        bytes_read=sum(spec.padded_bytes for spec in inputs),
        bytes_written=output.padded_bytes,
        num_tile_ops=passes * output.num_tiles,
        num_parallel=output.num_tiles if num_parallel is None else num_parallel,
    )
    return Plan((output,), work)


def move_plan(output: TensorSpec, bytes_read: int) -> Plan:
    """The plan of an op that only moves data."""
    work = Work("move", 0, bytes_read, output.padded_bytes, output.num_tiles, output.num_tiles)
    return Plan((output,), work)


def num_tiles(length: int) -> int:
    """Tiles along a dim."""
    return -(-length // TILE)


def tile_bytes(spec: TensorSpec) -> int:
    """Bytes of a tile of the tensor's number format."""
    return (
        spec.padded_bytes // spec.num_tiles
        if spec.layout is Layout.TILE and spec.num_tiles
        else TILE * TILE * spec.dtype.itemsize
    )


def dram_bytes(spec: TensorSpec) -> int:
    """Bytes that the tensor takes in DRAM: none where it lies in L1."""
    return 0 if spec.memory.buffer is Buffer.L1 else spec.padded_bytes


def num_tile_rows(spec: TensorSpec) -> int:
    """Rows of tiles of a tensor: how a row-wise op is cut over cores."""
    return max(1, math.prod(spec.shape[:-2])) * num_tiles(
        spec.shape[-2] if len(spec.shape) > 1 else 1
    )


def fidelity_phases(*specs: TensorSpec) -> int:
    """Multiplier passes by default: HiFi4 with float32 among the operands, else HiFi2.

    Source: compute kernel configs of ttnn 0.81.1 on Blackhole (matmul bf16: HiFi2; matmul float32:
        HiFi4; sdpa: HiFi2).
    """
    return 4 if any(spec.dtype is DType.FLOAT32 for spec in specs) else 2


def quietly(values: Callable[..., Array]) -> Callable[..., Array]:
    """Compute as a chip does: overflow gives inf, invalid gives NaN, and nobody warns."""
    return np.errstate(all="ignore")(values)
