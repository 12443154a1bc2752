"""The state of a chip's memory as a value: for people (`meshtwin memory`) and for tests."""

from dataclasses import asdict, dataclass
from typing import Any

from .banks import BankedMemory


@dataclass(frozen=True, slots=True)
class Block:
    """Addresses address .. + nbytes of every bank; `what` is the label, "" when they are free."""

    address: int
    nbytes: int
    what: str

    @property
    def is_free(self) -> bool:
        """Whether nobody holds it."""
        return not self.what


@dataclass(frozen=True, slots=True)
class BankReport:
    """One bank of DRAM, or the L1 of one core. Banks are in lock step: all are the same.

    Bytes are those of one bank; `holders` are (label, bytes), the largest first; `blocks` cover all
    of it but the reserved part, taken and free, by address.
    """

    buffer: str
    num_banks: int
    bank_bytes: int
    reserved_bytes: int
    capacity_bytes: int
    used_bytes: int
    free_bytes: int
    largest_free_bytes: int
    peak_bytes: int
    holders: tuple[tuple[str, int], ...]
    blocks: tuple[Block, ...]

    @property
    def fragmentation(self) -> float:
        """The part of the free bytes that is outside the largest free block, 0 to 1."""
        return 1 - self.largest_free_bytes / self.free_bytes if self.free_bytes else 0.0


@dataclass(frozen=True, slots=True)
class MemoryReport:
    """Both memories of a chip."""

    chip: int
    product: str
    dram: BankReport
    l1: BankReport

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


def bank_report(memory: BankedMemory) -> BankReport:
    """What one memory holds now."""
    banks, free = memory.num_banks, memory.free_list.blocks()
    blocks = [Block(*taken) for taken in memory.taken()]
    blocks += [Block(address, size, "") for address, size in free]
    return BankReport(
        buffer=memory.buffer.value,
        num_banks=banks,
        bank_bytes=memory.bank_bytes,
        reserved_bytes=memory.reserved_bytes,
        capacity_bytes=memory.free_list.size,
        used_bytes=memory.used_bytes // banks,
        free_bytes=memory.free_bytes // banks,
        largest_free_bytes=memory.free_list.largest,
        peak_bytes=memory.peak_bytes // banks,
        holders=tuple((what, size // banks) for what, size in memory.holders()),
        blocks=tuple(sorted(blocks, key=lambda block: block.address)),
    )
