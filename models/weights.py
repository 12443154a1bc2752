"""Reading weights out of memory-mapped safetensors files, one slice at a time.

The safetensors library needs ml_dtypes to hand bfloat16 to numpy, so the documented format is
read here: 8 bytes (the header's length, little endian), a JSON header {name: {dtype, shape,
data_offsets}}, then the data. Source: safetensors README, "Format".
"""

import json
import math
import mmap
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt

from ..chip.dtype import DType
from ..chip.tensor import decode
from .config import read_json
from .errors import CheckpointNotFound, CorruptCheckpoint, UnsupportedModel, nearest

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_HEADER_BYTES: Final = 100_000_000  # the limit of the safetensors library

# bfloat16 is handed out as its 16-bit words: numpy has no such type.
NUMPY_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "F32": np.dtype("<f4"),
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
}

# What else the format knows: sound, but no weights of ours. Bytes are not checked for these.
OTHER_DTYPES: Final = frozenset(
    {"BOOL", "U8", "I8", "I16", "U16", "I32", "U32", "I64", "U64", "F64", "C64"}
    | {"F8_E5M2", "F8_E4M3", "F8_E8M0", "F6_E2M3", "F6_E3M2", "F4"}
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies; dtype is the format's word (F32, BF16, F16)."""

    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int  # of its first byte, from the beginning of the file
    num_bytes: int


class Checkpoint:
    """The weights of a Hugging Face folder: one safetensors file, or shards with an index.

    Opening reads and checks the headers only. Files stay mapped as long as an array read from
    them lives, and chips of one host share their pages.

    Raises:
        CheckpointNotFound: no folder, no weights in it, or a shard is missing.
        CorruptCheckpoint: a header or an index is not what the format says, or a file is
            shorter or longer than its header says (both numbers are named).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._tensors: dict[str, TensorInfo] = {}
        self._maps: dict[Path, mmap.mmap] = {}
        for path, promised in _files(self.folder).items():
            found = read_header(path)
            for name in promised if promised is not None else found:
                if name not in found:
                    raise CorruptCheckpoint(
                        path, f"the index puts tensor {name!r} here; {nearest(name, list(found))}"
                    )
                self._tensors[name] = found[name]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._maps.clear()  # each map is closed with the last array that views it

    def __contains__(self, name: object) -> bool:
        return name in self._tensors

    def names(self) -> tuple[str, ...]:
        """All tensor names, sorted."""
        return tuple(sorted(self._tensors))

    def info(self, name: str) -> TensorInfo:
        """Where and what a tensor is. Raises: CorruptCheckpoint naming the nearest there is."""
        if name not in self._tensors:
            raise CorruptCheckpoint(
                self.folder, f"no tensor {name!r}; {nearest(name, self.names())}"
            )
        return self._tensors[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the whole tensor."""
        return self.info(name).shape

    def dtype(self, name: str) -> str:
        """The stored dtype: F32, BF16 or F16."""
        return self.info(name).dtype

    def read(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[Any]:
        """Read a slice of a tensor: float32, float16, or bfloat16 as its uint16 words.

        Args:
            rows: part of the first dim, 0 <= start <= stop <= size, no step; None for all.
            cols: part of the second dim, likewise.
        Returns:
            A read-only C-contiguous array. It is a view of the mapped file where the slice is
            contiguous and aligned there, otherwise a copy of just that slice.
        Raises:
            CorruptCheckpoint: no such tensor.
            UnsupportedModel: it is stored in another dtype.
            ValueError: a slice that reaches outside, steps, or cuts a dim the tensor lacks.
        """
        info = self.info(name)
        if info.dtype not in NUMPY_DTYPES:
            raise UnsupportedModel(f"{name} stored as {info.dtype}", tuple(NUMPY_DTYPES))
        cuts = cuts_of(name, info.shape, rows, cols)
        stored = memoryview(self._map(info))[info.offset : info.offset + info.num_bytes]
        whole = np.frombuffer(stored, NUMPY_DTYPES[info.dtype])
        part = np.require(whole.reshape(info.shape)[cuts], requirements=["C", "A"])
        part.flags.writeable = False
        return part

    def read_float32(
        self, name: str, rows: slice | None = None, cols: slice | None = None
    ) -> npt.NDArray[np.float32]:
        """Read a slice and widen it to float32; exact for every stored dtype."""
        part = self.read(name, rows, cols)
        if self.dtype(name) == "BF16":
            widened: npt.NDArray[np.float32] = decode(part, DType.BFLOAT16)
            return widened
        return part.astype(np.float32, copy=False)

    def __reduce__(self) -> tuple[type[Self], tuple[Path]]:
        """A copy in another process maps the files there."""
        return type(self), (self.folder,)

    def _map(self, info: TensorInfo) -> mmap.mmap:
        if info.path not in self._maps:
            with _opened(info.path) as file:
                self._maps[info.path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        mapped, end = self._maps[info.path], info.offset + info.num_bytes
        if len(mapped) < end:
            raise CorruptCheckpoint(
                info.path, f"cut since it was opened: expected {end} bytes, found {len(mapped)}"
            )
        return mapped


def _files(folder: Path) -> dict[Path, list[str] | None]:
    """The weight files, and the tensors that the index promises in each (None: no index)."""
    if (folder / SINGLE_FILE).is_file():
        return {folder / SINGLE_FILE: None}
    if not (folder / INDEX_FILE).is_file():
        if not folder.is_dir():
            raise CheckpointNotFound(folder, "no such folder")
        raise CheckpointNotFound(folder, f"neither {SINGLE_FILE} nor {INDEX_FILE}")
    weight_map = read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptCheckpoint(folder / INDEX_FILE, "expected a non-empty object 'weight_map'")
    shards: dict[Path, list[str] | None] = {}
    for name, shard in weight_map.items():
        # A shard lies beside its index: a name with a folder in it would reach outside.
        if not isinstance(shard, str) or Path(shard).name != shard:
            raise CorruptCheckpoint(folder / INDEX_FILE, f"{name!r} is in {shard!r}: no file name")
        if not (folder / shard).is_file():
            raise CheckpointNotFound(folder, f"no {shard}, though {INDEX_FILE} names it")
        names = shards.setdefault(folder / shard, [])
        assert names is not None
        names.append(name)
    return shards


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Read and check the header of a safetensors file: every tensor inside, no gaps, no overlap.

    Raises: CorruptCheckpoint naming the file, and expected and found bytes.
    """
    with _opened(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        if len(start) < 8:
            raise CorruptCheckpoint(path, f"truncated: expected a header, found {size} bytes")
        (header_bytes,) = struct.unpack("<Q", start)
        if header_bytes > MAX_HEADER_BYTES:
            raise CorruptCheckpoint(path, f"no safetensors file: a header of {header_bytes} bytes")
        if 8 + header_bytes > size:
            raise CorruptCheckpoint(
                path, f"truncated: expected {8 + header_bytes} bytes of header, found {size} bytes"
            )
        text = file.read(header_bytes)
    try:
        header = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpoint(path, f"the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise CorruptCheckpoint(path, "the header is not a JSON object")
    header.pop("__metadata__", None)
    tensors = {name: _info(path, name, header[name], 8 + header_bytes) for name in header}
    _check_coverage(path, tensors, 8 + header_bytes, size)
    return tensors


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointNotFound(path.parent, f"{path.name}: {error.strerror}") from error


def _info(path: Path, name: str, entry: Any, data_start: int) -> TensorInfo:
    try:
        dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise CorruptCheckpoint(path, f"{name!r}: no dtype, shape or data_offsets") from None
    sizes = [*shape, begin, end] if isinstance(shape, list) else [None]
    if not all(type(size) is int and size >= 0 for size in sizes) or end < begin:
        raise CorruptCheckpoint(path, f"{name!r}: impossible shape or offsets: {entry}")
    if not isinstance(dtype, str) or dtype not in {*NUMPY_DTYPES, *OTHER_DTYPES}:
        raise CorruptCheckpoint(path, f"{name!r}: dtype {dtype!r} is none of the format's")
    if dtype in NUMPY_DTYPES:
        expected = math.prod(shape) * NUMPY_DTYPES[dtype].itemsize
        if end - begin != expected:
            raise CorruptCheckpoint(
                path, f"{name!r}: {dtype} {shape} is {expected} bytes, found {end - begin}"
            )
    return TensorInfo(dtype, tuple(shape), path, data_start + begin, end - begin)


def _check_coverage(path: Path, tensors: dict[str, TensorInfo], start: int, size: int) -> None:
    for name, info in sorted(tensors.items(), key=lambda item: (item[1].offset, item[1].num_bytes)):
        if info.offset != start:
            raise CorruptCheckpoint(
                path, f"{name!r}: expected at byte {start}, found at byte {info.offset}"
            )
        start += info.num_bytes
    if size != start:
        what = "truncated" if size < start else "too long"
        raise CorruptCheckpoint(path, f"{what}: expected {start} bytes, found {size} bytes")


def cuts_of(
    name: str, shape: tuple[int, ...], rows: slice | None, cols: slice | None
) -> tuple[slice, ...]:
    cuts: list[slice] = []
    for dim, (word, cut) in enumerate((("rows", rows), ("cols", cols))):
        if cut is None:
            continue
        if dim >= len(shape):
            raise ValueError(f"{word} (={cut}) of {name} {list(shape)}: it has no dim {dim}")
        start = 0 if cut.start is None else cut.start
        stop = shape[dim] if cut.stop is None else cut.stop
        if not 0 <= start <= stop <= shape[dim] or cut.step not in (None, 1):
            raise ValueError(
                f"{word} (={cut}) of {name} {list(shape)} must lie in 0..{shape[dim]}, step 1"
            )
        cuts += [slice(None)] * (dim - len(cuts)) + [slice(start, stop)]
    return tuple(cuts)
