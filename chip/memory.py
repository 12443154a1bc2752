"""A chip's DRAM as a ledger: how much is held, by what, and when it is full.

It knows sums, not addresses: fragmentation, and the rounding of each tensor to whole pages per
bank, are not modelled.
"""

from collections.abc import Sequence

from .errors import InvalidArgument, OutOfMemory

LARGEST = 5  # holders named in an error


class Allocation:
    """A piece of DRAM; freed when nothing refers to it any more, or at once with `free`."""

    __slots__ = ("ledger", "nbytes", "what")

    def __init__(self, ledger: "DramLedger | None", nbytes: int, what: str) -> None:
        self.ledger, self.nbytes, self.what = ledger, nbytes, what

    def free(self) -> None:
        """Give the bytes back (once, however often it is called)."""
        ledger = self.ledger
        if ledger is not None:
            self.ledger = None
            ledger._give_back(self.nbytes, self.what)

    __del__ = free


class DramLedger:
    """The DRAM of one chip.

    Args:
        capacity_bytes: banks times usable bytes of a bank.
        chip: the rank named in errors.
    """

    __slots__ = ("_held", "capacity_bytes", "chip", "peak_bytes", "used_bytes")

    def __init__(self, capacity_bytes: int, chip: int) -> None:
        if capacity_bytes <= 0:
            raise InvalidArgument(f"capacity_bytes (={capacity_bytes}) must be > 0")
        self.capacity_bytes, self.chip = capacity_bytes, chip
        self.used_bytes = 0
        self.peak_bytes = 0
        self._held: dict[str, int] = {}

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return self.capacity_bytes - self.used_bytes

    def allocate(self, nbytes: int, what: str) -> Allocation:
        """Hold `nbytes` for `what` (a label: tensors with one label are summed in `holders`).

        Raises:
            OutOfMemory: it does not fit; nothing is held.
        """
        used = self.used_bytes + nbytes
        if used > self.capacity_bytes:
            raise OutOfMemory(
                self.chip,
                nbytes,
                self.free_bytes,
                self.capacity_bytes,
                what,
                self.holders()[:LARGEST],
            )
        self.used_bytes = used
        if used > self.peak_bytes:
            self.peak_bytes = used
        held = self._held
        held[what] = held.get(what, 0) + nbytes
        return Allocation(self, nbytes, what)

    def holders(self) -> Sequence[tuple[str, int]]:
        """Who holds how many bytes, the largest first."""
        return sorted(
            ((what, size) for what, size in self._held.items() if size),
            key=lambda pair: (-pair[1], pair[0]),
        )

    def _give_back(self, nbytes: int, what: str) -> None:
        self.used_bytes -= nbytes
        left = self._held.get(what, 0) - nbytes  # a holder of nothing is not listed
        if left:
            self._held[what] = left
        else:
            self._held.pop(what, None)
