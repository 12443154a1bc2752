"""What a reference run computed, written to a file op by op and read back where it is compared.

The numbers are float32 (integers as they are) in one file that the chips of a host map, so that
neither the driver nor any chip ever holds them all.
"""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from ..chip.figures import Figures
from ..chip.state import Op, Params
from ..chip.tensor import Array, Tensor
from ..collectives.request import Request
from .program import MeshChip
from .watching import Marks, Watching

ALIGN_BYTES = 64
PRODUCTS = ("linear", "matmul", "embedding")
"""Ops whose inputs are kept too, where chips hold parts of them."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array on the tape."""

    offset: int
    shape: tuple[int, ...]
    dtype: str  # numpy's name


@dataclass(frozen=True, slots=True)
class Entry:
    """One op of the reference: where it was, its outputs, and what is known of its inputs.

    `digests` are of the bits of inputs from outside the program's ops; None for the others.
    """

    op: str
    line: str
    scope: str
    outputs: tuple[Stored, ...]
    shapes: tuple[tuple[int, ...], ...]  # of the inputs
    digests: tuple[str | None, ...]
    inputs: tuple[Stored, ...] = ()  # of products only


class TapeWriter(Watching):
    """Watches a reference run and writes what each op gave.

    Args:
        keep_products: also keep both inputs of matrix products.
    """

    def __init__(self, chip: MeshChip, file: IO[bytes], keep_products: bool = False) -> None:
        super().__init__(chip)
        self.file, self.keep_products = file, keep_products
        self.entries: list[Entry] = []
        self.stored: Marks[Stored] = Marks()

    def ran(
        self, op: Op, inputs: tuple[Tensor, ...], params: Params, outputs: tuple[Tensor, ...]
    ) -> None:
        """Write an op's outputs, or the input that it wrote to."""
        self._add(op.name, inputs, outputs or inputs[:1])

    def communicated(self, request: Request, x: Tensor, result: Tensor | None) -> None:
        """Write what a collective gave this chip."""
        self._add(request.operation.label, (x,), () if result is None else (result,))

    def _add(self, op: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> None:
        self.next_op()
        keeps = self.keep_products and op in PRODUCTS
        kept = tuple(map(self._keep, inputs)) if keeps else ()
        digests = tuple(digest_unless_made(self.judged, tensor) for tensor in inputs)
        written = tuple(self._write(tensor) for tensor in outputs)
        for tensor in outputs:
            self.judged.put(tensor, None)  # made here, not from outside
        shapes = tuple(tensor.shape for tensor in inputs)
        self.entries.append(Entry(op, self.line, self.scope, written, shapes, digests, kept))

    def _keep(self, tensor: Tensor) -> Stored:
        """An input: on the tape already if an op made it, maybe in another shape."""
        known = self.stored.get(tensor)
        return self._write(tensor) if known is None else replace(known, shape=tensor.shape)

    def _write(self, tensor: Tensor) -> Stored:
        values = np.ascontiguousarray(tensor.to_numpy())
        offset = -(-self.file.tell() // ALIGN_BYTES) * ALIGN_BYTES
        self.file.seek(offset)
        self.file.write(values.data if values.size else b"")
        stored = Stored(offset, tensor.shape, values.dtype.str)
        self.stored.put(tensor, stored)
        return stored


class TapeReader:
    """The entries of a tape that is written, and their arrays, mapped from the file."""

    def __init__(self, file: IO[bytes], entries: list[Entry]) -> None:
        self.entries = entries
        file.flush()
        size = file.seek(0, 2)
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

    @classmethod
    def open(cls, path: str, entries: list[Entry]) -> TapeReader:
        """Map the tape of another process of this host.

        Raises:
            FileNotFoundError: it is on another host.
        """
        with Path(path).open("rb") as file:
            return cls(file, entries)

    def read(self, stored: Stored) -> Array:
        """An array of the tape; it may not be written to."""
        count = int(np.prod(stored.shape))
        if not count:
            return np.empty(stored.shape, stored.dtype)
        flat = np.frombuffer(self._map, stored.dtype, count, stored.offset)
        return flat.reshape(stored.shape)


def digest_unless_made(made: Marks[Figures | None], tensor: Tensor) -> str | None:
    """Format and bits of a tensor that no op of the program made, in a word each; else None."""
    if made.has(tensor):
        return None
    assert tensor.storage is not None
    bits = hashlib.blake2b(str(tensor.shape).encode(), digest_size=16)
    bits.update(np.ascontiguousarray(tensor.storage).reshape(-1).view(np.uint8).data)
    return f"{tensor.dtype} {bits.hexdigest()}"
