"""One memory of a chip, DRAM or L1: banks in lock step, and who holds what in them.

A buffer takes the same addresses in every bank, however few of them its pages reach, so that a
page's address is one multiplication away (tt-metal tech_reports/memory/allocator.md 376322f0). One
free list therefore serves all banks. DRAM is filled from the bottom; L1 from the top, since
circular buffers lie at its bottom. Addresses and sizes are multiples of the DRAM alignment in both.
"""

from collections.abc import Sequence
from typing import final

from ..errors import InvalidArgument, OutOfMemory
from .config import Buffer
from .free_list import FreeList

LARGEST = 5  # holders named in an error


@final
class Allocation:
    """Addresses `address` .. + `nbytes` of every bank; freed when nothing refers to it any more.

    `what` is the label it is reported under. The address of an allocation of no bytes, and of one
    that was freed, is -1.
    """

    __slots__ = ("__weakref__", "_memory", "address", "nbytes", "what")

    def __init__(self, memory: "BankedMemory", address: int, nbytes: int, what: str) -> None:
        self._memory, self.address, self.nbytes, self.what = memory, address, nbytes, what

    @property
    def is_freed(self) -> bool:
        """Whether `free` was called."""
        return self.address < 0 < self.nbytes

    def free(self) -> None:
        """Give the bytes back (once, however often it is called)."""
        address = self.address
        if address >= 0:
            self.address = -1
            self._memory._give_back(address, self.nbytes)

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
        "_free_bytes", "_least_free_bytes", "_live", "_take", "alignment", "bank_bytes", "buffer",
        "chip", "free_list", "grid", "num_banks", "page_alignment", "reserved_bytes",
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
        self._take = self.free_list.take_low if is_dram else self.free_list.take_high
        self._free_bytes = self._least_free_bytes = room
        self._live: dict[int, tuple[int, str]] = {}

    def allocate(self, nbytes: int, what: str) -> Allocation:
        """Take `nbytes` of every bank (rounded up to the alignment) for `what`, a label.

        Raises:
            OutOfMemory: no free block is large enough; nothing is taken.
        """
        size = -(-nbytes // self.alignment) * self.alignment
        if not size:
            return Allocation(self, -1, 0, what)
        address = self._take(size)
        if address < 0:
            self._refuse(size, what)
        self._free_bytes = free = self._free_bytes - size
        if free < self._least_free_bytes:
            self._least_free_bytes = free
        self._live[address] = (size, what)
        return Allocation(self, address, size, what)

    def _give_back(self, address: int, nbytes: int) -> None:
        self.free_list.give_back(address, nbytes)
        self._free_bytes += nbytes
        del self._live[address]

    def _refuse(self, size: int, what: str) -> None:
        raise OutOfMemory(
            self.chip,
            self.buffer.value,
            what,
            size,
            self.num_banks,
            self._free_bytes,
            self.free_list.largest,
            self.free_list.size,
            tuple(self.holders()[:LARGEST]),
        )

    @property
    def capacity_bytes(self) -> int:
        """What tensors can use."""
        return self.num_banks * self.free_list.size

    @property
    def used_bytes(self) -> int:
        """What is taken, in all banks."""
        return self.num_banks * (self.free_list.size - self._free_bytes)

    @property
    def free_bytes(self) -> int:
        """What is left, in blocks of whatever size."""
        return self.num_banks * self._free_bytes

    @property
    def peak_bytes(self) -> int:
        """The most that was ever taken at once."""
        return self.num_banks * (self.free_list.size - self._least_free_bytes)

    def holders(self) -> Sequence[tuple[str, int]]:
        """Who holds how many bytes in all banks, by label, the largest first."""
        held: dict[str, int] = {}
        for size, what in self._live.values():
            held[what] = held.get(what, 0) + self.num_banks * size
        return sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))

    def taken(self) -> Sequence[tuple[int, int, str]]:
        """(address, bytes, label) of every allocation, by address; the same in every bank."""
        return sorted((address, size, what) for address, (size, what) in self._live.items())

    def lowest(self) -> tuple[int, str] | None:
        """(address, label) of the lowest allocation; None when there is none."""
        if not self._live:
            return None
        address = min(self._live)
        return address, self._live[address][1]
