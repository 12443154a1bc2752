"""The DRAM and the L1 of one chip, and what tensors take of them."""

from .errors import CircularBufferClash, UseAfterFree
from .memory.banks import Allocation, BankedMemory
from .memory.config import Buffer
from .memory.footprint import Footprint, footprint
from .memory.report import MemoryReport, bank_report
from .memory.written import Touch, WrittenElements
from .spec import ChipSpec
from .tensor import Array, Tensor, TensorSpec

Room = tuple[BankedMemory, int]
"""What a tensor takes: so many bytes of every bank of a memory."""

MOST_SPECS = 65536  # specs whose room is remembered


class ChipMemory:
    """What a chip's memory does for it: ChipState adds ops to this.

    Attributes:
        dram, l1: the two memories; see memory/banks.
        circular_peak: the op with the largest circular buffers so far: (bytes of a core, name).
    """

    def __init__(self, spec: ChipSpec, rank: int, checked: bool) -> None:
        self.spec, self.rank = spec, rank
        self.dram, self.l1 = _memories(spec, rank)
        self.circular_peak = (0, "")
        self._rooms: dict[TensorSpec, Room] = {}
        self._written = WrittenElements() if checked else None
        self._is_careful = checked  # or something was freed: inputs are looked at before they run

    def adopt(self, spec: TensorSpec, storage: Array | None, what: str) -> Tensor:
        """A tensor of this very storage, with memory of the chip: what a collective received."""
        return Tensor(spec, storage, self.allocate(spec, what))

    def allocate(self, spec: TensorSpec, what: str) -> Allocation:
        """Memory for a tensor of `spec`, under the label `what`.

        Raises:
            OutOfMemory: there is no room.
            InvalidArgument: it has a shard on a core or bank that the chip does not have.
        """
        memory, nbytes = self._rooms.get(spec) or self.room(spec)
        return Allocation(memory, (nbytes, what))

    def footprint(self, spec: TensorSpec) -> Footprint:
        """What a tensor of `spec` takes of every bank, and where its pages lie."""
        memory = self.dram if spec.memory.buffer is Buffer.DRAM else self.l1
        return footprint(spec.pages(), spec.memory, memory)

    def free(self, x: Tensor) -> None:
        """Give the tensor's memory back at once, though something may still refer to it.

        From then on every use of it, or of a view of it, raises UseAfterFree. Without this a
        tensor's memory is freed when the last reference to it goes.
        """
        self._is_careful = True
        x.storage = None
        if x.allocation is not None:
            x.allocation.free()

    def memory_report(self) -> MemoryReport:
        """What DRAM and L1 hold now, block by block."""
        return MemoryReport(self.rank, self.spec.name, bank_report(self.dram), bank_report(self.l1))

    def check_alive(self, op: str, *inputs: Tensor) -> None:
        """Raise UseAfterFree, or in checked mode UninitializedRead, for inputs read whole."""
        if self._is_careful:
            self.check_not_freed(op, inputs)
            if self._written is not None:
                self._written.touch(self.rank, op, inputs, (Touch(),) * len(inputs))

    def check_not_freed(self, op: str, inputs: tuple[Tensor, ...]) -> None:
        """Raise UseAfterFree if one of them was freed."""
        for tensor in inputs:
            if tensor.allocation is not None and tensor.allocation.is_freed:
                raise UseAfterFree(self.rank, op, tensor.named())

    def check_circular(self, op: str, nbytes: int) -> None:
        """Raise CircularBufferClash if the op's buffers reach into the lowest tensor of L1."""
        start, end = self.l1.reserved_bytes, self.l1.free_list.lowest_taken
        if start + nbytes > end:
            lowest = self.l1.lowest()
            what = "" if lowest is None else lowest[1]
            raise CircularBufferClash(self.rank, op, nbytes, start, end, what)
        if nbytes > self.circular_peak[0]:
            self.circular_peak = (nbytes, op)

    def room(self, spec: TensorSpec) -> Room:
        """The memory that a tensor of `spec` lies in, and what it takes of every bank."""
        known = self._rooms.get(spec)
        if known is not None:
            return known
        taken = self.footprint(spec).bank_bytes
        room = (self.dram if spec.memory.buffer is Buffer.DRAM else self.l1), taken
        if len(self._rooms) >= MOST_SPECS:
            self._rooms.clear()
        self._rooms[spec] = room
        return room


def _memories(spec: ChipSpec, rank: int) -> tuple[BankedMemory, BankedMemory]:
    """DRAM and L1 of a chip."""
    dram = BankedMemory(
        Buffer.DRAM,
        rank,
        (spec.dram_banks, 1),
        spec.dram_bank_bytes,
        spec.dram_reserved_bytes,
        spec.dram_alignment,
        spec.dram_alignment,
    )
    l1 = BankedMemory(
        Buffer.L1,
        rank,
        spec.grid,
        spec.l1_bytes,
        spec.l1_reserved_bytes,
        spec.l1_alignment,
        spec.dram_alignment,
    )
    return dram, l1
