"""What a chip asks for when it calls a collective."""

import hashlib
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from ..chip.dtype import BLOCK, DType
from .operation import Operation
from .reduce_op import ReduceOp


class Rounding(Enum):
    """What a wire dtype does to values. Time and bytes are the wire dtype's either way."""

    HOP = "hop"  # as on a wire: what travels is rounded each time it is sent
    NONE = "none"  # not at all: to see how much of a difference the wire makes

    __hash__ = object.__hash__


@dataclass(frozen=True)
class Call:
    """One collective as a chip calls it. Chips of a group must make calls of equal `text`.

    `ranks` are the group's, ascending; `where` names it for readers. `dim` is the tensor dim that
    is cut or joined (never negative), `concat_dim` the one that all_to_all joins; `root` is a rank;
    `sizes` are those of the joined dim on each chip, where they differ; `algorithm` is its name.
    """

    operation: Operation
    shape: tuple[int, ...]
    dtype: DType
    ranks: tuple[int, ...]
    where: str = ""
    dim: int = 0
    concat_dim: int = 0
    root: int = 0
    op: ReduceOp = ReduceOp.SUM
    sizes: tuple[int, ...] | None = None
    wire: DType | None = None
    rounding: Rounding = Rounding.HOP
    algorithm: str = "auto"

    @cached_property
    def text(self) -> str:
        """The call in words: equal on all chips that make the same call."""
        operation, shape = self.operation, list[object](self.shape)
        if self.sizes is not None:
            shape[self.dim] = f"one of {list(self.sizes)}"
        dims = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        words = [] if operation is Operation.BARRIER else [f"shape ({dims})", self.dtype.label]
        if operation.cuts or operation.joins:
            words.append(f"dim {self.dim}")
        if operation is Operation.ALL_TO_ALL:
            words.append(f"concat_dim {self.concat_dim}")
        if operation.has_root:
            words.append(f"root {self.root}")
        if operation.reduces:
            words.append(f"op {self.op.value}")
        if self.where:
            words.append(self.where)
        if self.wire is not None:
            words.append(f"wire {self.wire.label}, rounding {self.rounding.value}")
        if self.algorithm != "auto":
            words.append(f"algorithm {self.algorithm}")
        return f"{operation.label}({', '.join(words)})"

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that differ where calls differ."""
        return hashlib.blake2b(self.text.encode(), digest_size=16).digest()

    @cached_property
    def unit(self) -> int:
        """Elements of a row that are never cut apart: a block where block floats are, else one."""
        return BLOCK if self.dtype.block or (self.wire and self.wire.block) else 1

    @property
    def wire_unit_bytes(self) -> int:
        """Bytes of a unit on a link."""
        return (self.wire or self.dtype).num_bytes((self.unit,))

    @cached_property
    def rounds_on_wire(self) -> bool:
        """Does travelling change values?"""
        return (
            self.wire is not None
            and self.rounding is Rounding.HOP
            and not _holds(self.wire, self.dtype)
        )


def _holds(wire: DType, dtype: DType) -> bool:
    """Does one format hold all numbers of another? float32 does, and bfloat16 block floats."""
    if dtype.block and wire.block:
        return wire.block.magnitude_bits >= dtype.block.magnitude_bits
    return wire in (DType.FLOAT32, dtype) or (wire is DType.BFLOAT16 and dtype.block is not None)
