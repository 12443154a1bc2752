"""Where the parts of a collective lie in the tensors of its chips.

A part is an array; it is read and written in row-major order, whatever tensor it lies in. Cuts
along a dim are those of numpy.array_split: the first parts are one longer where it does not come
out even, and parts may be empty.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

Shape = tuple[int, ...]


def split_sizes(size: int, parts: int) -> tuple[int, ...]:
    """The sizes of the parts of a dim of that size."""
    small, longer = divmod(size, parts)
    return tuple(small + (index < longer) for index in range(parts))


def units(shape: Shape, unit: int) -> int:
    """Units of so many elements in a row of a tensor; the last one need not be full."""
    return -(-(shape[-1] if shape else 1) // unit)


@dataclass(frozen=True, slots=True)
class Region:
    """The part of a tensor of `shape` that has `size` indices along `dim` from `start` on."""

    shape: Shape
    dim: int
    start: int
    size: int

    @property
    def part_shape(self) -> Shape:
        """The shape of the part."""
        return (*self.shape[: self.dim], self.size, *self.shape[self.dim + 1 :])

    @property
    def index(self) -> tuple[slice, ...]:
        """The part, as an index of the tensor."""
        return (*[slice(None)] * self.dim, slice(self.start, self.start + self.size))

    @property
    def row_items(self) -> int:
        """Items that lie together, in one row."""
        return self.size * math.prod(self.shape[self.dim + 1 :])

    @property
    def stride(self) -> int:
        """Items from one row to the next."""
        return math.prod(self.shape[self.dim :])

    @property
    def offset(self) -> int:
        """Items before the first row."""
        return self.start * math.prod(self.shape[self.dim + 1 :])

    def at(self, item: int) -> int:
        """Where item number `item` of the part lies in the tensor, in items."""
        row, column = divmod(item, self.row_items)
        return self.offset + row * self.stride + column


def whole(shape: Shape) -> Region:
    """The region that is all of a tensor (of one dim or more)."""
    return Region(shape, 0, 0, shape[0]) if shape else Region((1,), 0, 0, 1)


class Stretch(NamedTuple):
    """Rows of `items`, each at a stride from the one before, in two tensors; all in items."""

    rows: int
    items: int
    in_offset: int
    in_stride: int
    out_offset: int
    out_stride: int


def stretches(source: Region, target: Region, start: int, count: int) -> Iterator[Stretch]:
    """Items start .. start + count of a part, as rows that lie together in both tensors.

    The part has the same shape in both, so the rows of one are whole numbers of rows of the other.
    """
    if not count:
        return
    fine = min(source.row_items, target.row_items)
    coarse = max(source.row_items, target.row_items)
    end = start + count
    while start < end:
        if start % fine or end - start < fine:
            items = min(fine - start % fine, end - start)
            yield Stretch(1, items, source.at(start), 0, target.at(start), 0)
            start += items
            continue
        if source.row_items == target.row_items:
            last = end
        else:
            last = min(end, start - start % coarse + coarse)
        rows = (last - start) // fine
        in_stride = source.stride if source.row_items == fine else fine
        out_stride = target.stride if target.row_items == fine else fine
        yield Stretch(rows, fine, source.at(start), in_stride, target.at(start), out_stride)
        start += rows * fine
