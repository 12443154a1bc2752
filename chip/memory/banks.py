"""One memory of a chip, DRAM or L1: banks in lock step, and who holds what in them.

A buffer takes the same addresses in every bank, however few of them its pages reach, so that a
page's address is one multiplication away (tt-metal tech_reports/memory/allocator.md 376322f0). One
free list therefore serves all banks. DRAM is filled from the bottom; L1 from the top, since
circular buffers lie at its bottom. Addresses and sizes are multiples of the DRAM alignment in both.
"""

import re
from collections.abc import Sequence
from typing import final

from ..errors import InvalidArgument, OutOfMemory
from .config import Buffer
from .free_list import FreeList, Holder

LARGEST = 5  # holders named in an error


def layers_together(holders: Sequence[tuple[str, int]]) -> Sequence[tuple[str, int]]:
    """(label, bytes) with the layers of a model summed up, the largest first.

    "layers.0.mlp" and "layers.1.mlp" are both "layers.*.mlp".
    """
    held: dict[str, int] = {}
    for label, size in holders:
        group = group_of_layers(label)
        held[group] = held.get(group, 0) + size
    return sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))


def group_of_layers(label: str) -> str:
    """The label without the number of a layer: "layers.3.mlp" is "layers.*.mlp"."""
    return re.sub(r"(?<=[. ])\d+(?=[. ]|$)", "*", label)


@final
class Allocation:
    """Addresses `address` .. + `nbytes` of every bank; freed when nothing refers to it any more.

    Making one takes the room. `holder` is (bytes, label); the bytes must be a multiple of the
    memory's alignment. The address of an allocation of no bytes, and of a freed one, is -1.

    Raises:
        OutOfMemory: no free block is large enough; nothing is taken.
    """

    __slots__ = ("__weakref__", "_memory", "address", "holder")

    def __init__(self, memory: "BankedMemory", holder: Holder) -> None:
        self._memory, self.holder = memory, holder
        self.address = address = memory.take(holder)
        if address < 0:
            memory.refuse(holder)

    @property
    def nbytes(self) -> int:
        """What it takes, or took, of every bank."""
        return self.holder[0]

    @property
    def what(self) -> str:
        """The label that it is reported under."""
        return self.holder[1]

    @property
    def is_freed(self) -> bool:
        """Whether `free` was called."""
        return self.address < 0 < self.holder[0]

    def free(self) -> None:
        """Give the bytes back (once, however often it is called)."""
        address = self.address
        if address >= 0:
            self.address = -1
            self._memory.give_back(address)

    __del__ = free


@final
class BankedMemory:
    """The DRAM or the L1 of one chip.

    Sums (`used_bytes`, `capacity_bytes`, ...) are over all banks; `bank_` figures are of one.

    Args:
        buffer: which of the two it is.
        chip: the rank named in errors.
        grid: (columns, rows) of its banks: the worker cores, or (DRAM banks, 1).
        bank_bytes: the size of a bank.
        reserved_bytes: what tensors do not get at its bottom (barrier, firmware, kernels).
        page_alignment: pages begin at multiples of this.
        alignment: buffers begin at multiples of this, and take multiples of it.
    """

    __slots__ = (
        "alignment", "bank_bytes", "buffer", "chip", "free_list", "give_back", "grid", "num_banks",
        "page_alignment", "reserved_bytes", "take",
    )  # fmt: skip

    def __init__(
        self,
        buffer: Buffer,
        chip: int,
        grid: tuple[int, int],
        bank_bytes: int,
        reserved_bytes: int,
        page_alignment: int,
        alignment: int,
    ) -> None:
        if not 0 <= reserved_bytes < bank_bytes or reserved_bytes % alignment:
            raise InvalidArgument(
                f"{buffer.value}: reserved_bytes (={reserved_bytes}) must be a multiple of "
                f"{alignment} below bank_bytes (={bank_bytes})"
            )
        self.buffer, self.chip, self.grid = buffer, chip, grid
        self.num_banks = grid[0] * grid[1]
        self.bank_bytes, self.reserved_bytes = bank_bytes, reserved_bytes
        self.page_alignment, self.alignment = page_alignment, alignment
        room = (bank_bytes - reserved_bytes) // alignment * alignment
        self.free_list = FreeList(reserved_bytes, room)
        is_dram = buffer is Buffer.DRAM
        self.take = self.free_list.take_low if is_dram else self.free_list.take_high
        self.give_back = self.free_list.give_back

    def allocate(self, nbytes: int, what: str) -> Allocation:
        """Take `nbytes` of every bank (rounded up to the alignment) for `what`, a label.

        Raises:
            OutOfMemory: no free block is large enough; nothing is taken.
        """
        return Allocation(self, (-(-nbytes // self.alignment) * self.alignment, what))

    def refuse(self, holder: Holder) -> None:
        """Raise OutOfMemory for what no free block has room for, if it is any bytes at all."""
        size, what = holder
        if not size:
            return
        raise OutOfMemory(
            self.chip,
            self.buffer.value,
            what,
            size,
            self.num_banks,
            self.free_list.free_bytes,
            self.free_list.largest,
            self.free_list.size,
            tuple(layers_together(self.holders())[:LARGEST]),
        )

    @property
    def capacity_bytes(self) -> int:
        """What tensors can use."""
        return self.num_banks * self.free_list.size

    @property
    def used_bytes(self) -> int:
        """What is taken, in all banks."""
        return self.num_banks * (self.free_list.size - self.free_list.free_bytes)

    @property
    def free_bytes(self) -> int:
        """What is left, in blocks of whatever size."""
        return self.num_banks * self.free_list.free_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that was ever taken at once."""
        return self.num_banks * (self.free_list.size - self.free_list.least_free_bytes)

    def holders(self) -> Sequence[tuple[str, int]]:
        """Who holds how many bytes in all banks, by label, the largest first."""
        held: dict[str, int] = {}
        for size, what in self.free_list.holders.values():
            held[what] = held.get(what, 0) + self.num_banks * size
        return sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))

    def taken(self) -> Sequence[tuple[int, int, str]]:
        """(address, bytes, label) of every allocation, by address; the same in every bank."""
        return sorted(
            (address, size, what) for address, (size, what) in self.free_list.holders.items()
        )

    def lowest(self) -> tuple[int, str] | None:
        """(address, label) of the lowest allocation; None when there is none."""
        holders = self.free_list.holders
        return min((address, what) for address, (_, what) in holders.items()) if holders else None
