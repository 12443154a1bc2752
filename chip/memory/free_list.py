"""The free blocks of one bank: first fit from either end, neighbours merged at once.

The policy is that of tt-metal's allocator (tt_metal/impl/allocator/bank_manager.cpp 00a6e7f8 asks
for SearchPolicy::FIRST, and free_list_opt.cpp 01c8afed keeps every size class sorted by address): a
block is taken from the start of the lowest free block that is large enough, or from the end of the
highest one; what is left over stays free; a freed block merges with free neighbours. The best fit
is not looked for, so that two kinds of buffers can grow towards each other.
"""

from bisect import bisect_left
from collections.abc import Sequence

Holder = tuple[int, str]
"""Bytes of every bank, and the label they are held under."""


class FreeList:
    """Addresses base .. base + size - 1: the free blocks, by address, and who holds the others.

    Sizes asked for are multiples of the caller's alignment, as `base` is: then every address is.

    Attributes:
        holders: of every block that is taken, by its address.
        free_bytes, least_free_bytes: now, and the least that there ever were.
    """

    __slots__ = (
        "_sizes", "_starts", "base", "free_bytes", "holders", "least_free_bytes", "size",
    )  # fmt: skip

    def __init__(self, base: int, size: int) -> None:
        self.base, self.size = base, size
        self._starts = [base]
        self._sizes = [size]
        self.free_bytes = self.least_free_bytes = size
        self.holders: dict[int, Holder] = {}

    def take_low(self, holder: Holder) -> int:
        """Take a block from the start of the lowest free one that has room for it.

        Returns its address; -1 when there is none, or no bytes are asked for.
        """
        size = holder[0]
        if not size:
            return -1
        sizes = self._sizes
        for index, room in enumerate(sizes):
            if room >= size:
                starts = self._starts
                start = starts[index]
                if room == size:
                    del starts[index], sizes[index]
                else:
                    starts[index] = start + size
                    sizes[index] = room - size
                self.free_bytes = free = self.free_bytes - size
                if free < self.least_free_bytes:
                    self.least_free_bytes = free
                self.holders[start] = holder
                return start
        return -1

    def take_high(self, holder: Holder) -> int:
        """Take a block from the end of the highest free one that has room; returns as above."""
        size = holder[0]
        if not size:
            return -1
        sizes = self._sizes
        for index in range(len(sizes) - 1, -1, -1):
            room = sizes[index]
            if room >= size:
                start = self._starts[index] + room - size
                if room == size:
                    del self._starts[index], sizes[index]
                else:
                    sizes[index] = room - size
                self.free_bytes = free = self.free_bytes - size
                if free < self.least_free_bytes:
                    self.least_free_bytes = free
                self.holders[start] = holder
                return start
        return -1

    def give_back(self, start: int) -> None:
        """Free the block that was taken at an address."""
        size = self.holders.pop(start)[0]
        self.free_bytes += size
        starts, sizes = self._starts, self._sizes
        index = bisect_left(starts, start)
        joins_next = index < len(starts) and starts[index] == start + size
        if index and starts[index - 1] + sizes[index - 1] == start:
            sizes[index - 1] += size
            if joins_next:
                sizes[index - 1] += sizes[index]
                del starts[index], sizes[index]
        elif joins_next:
            starts[index] = start
            sizes[index] += size
        else:
            starts.insert(index, start)
            sizes.insert(index, size)

    @property
    def largest(self) -> int:
        """Bytes of the largest free block."""
        return max(self._sizes, default=0)

    @property
    def lowest_taken(self) -> int:
        """The first address that is not free; the end when all are."""
        if self._starts and self._starts[0] == self.base:
            return self.base + self._sizes[0]
        return self.base

    def blocks(self) -> Sequence[tuple[int, int]]:
        """(address, bytes) of every free block, by address."""
        return list(zip(self._starts, self._sizes, strict=True))
