"""What can go wrong in a collective."""

from ..chip.errors import MeshtwinError


class CollectiveError(MeshtwinError):
    """A collective could not be carried out."""


class CollectiveMismatch(CollectiveError):
    """Two chips called different collectives at the same place. Raised on every chip of the group.

    Fields: the chip that raises; the number of the call in its group (or in the program, where the
    groups differ); the group's first chip, and the first chip that differs from it; for both of
    them what was called, and the source line.
    """

    def __init__(
        self,
        chip: int,
        number: int,
        first: int,
        first_call: str,
        first_line: str,
        other: int,
        other_call: str,
        other_line: str,
    ) -> None:
        super().__init__(chip, number, first, first_call, first_line, other, other_call, other_line)
        self.chip, self.number, self.first, self.other = chip, number, first, other
        self.first_call, self.first_line = first_call, first_line
        self.other_call, self.other_line = other_call, other_line

    def __str__(self) -> str:
        return (
            f"collective {self.number}: chip {self.first} called {self.first_call} at "
            f"{self.first_line}, but chip {self.other} called {self.other_call} at "
            f"{self.other_line}: every chip of a group must make the same collective calls in the "
            "same order"
        )


class ChunkError(CollectiveError, ValueError):
    """A tensor has no dim that could be cut or joined as asked."""

    def __init__(self, op: str, shape: tuple[int, ...], dim: int) -> None:
        super().__init__(op, shape, dim)
        self.op, self.shape, self.dim = op, shape, dim

    def __str__(self) -> str:
        if not self.shape:
            return f"{self.op}: a tensor of shape () has no dim"
        dims = len(self.shape)
        return (
            f"{self.op}: dim {self.dim} is not a dim of shape {self.shape}; "
            f"legal dims are {-dims} to {dims - 1}"
        )


class BlockError(CollectiveError, ValueError):
    """A block float would be cut or joined where numbers share an exponent.

    Fields: the operation and the format; the size along the last dim, and what it must be a
    multiple of.
    """

    def __init__(self, op: str, dtype: str, size: int, multiple: int) -> None:
        super().__init__(op, dtype, size, multiple)
        self.op, self.dtype, self.size, self.multiple = op, dtype, size, multiple

    def __str__(self) -> str:
        less = self.size // self.multiple * self.multiple
        nearest = f"{less} and {less + self.multiple}" if less else f"{self.multiple}"
        return (
            f"{self.op} of {self.dtype} along the last dim: its size {self.size} must be a "
            f"multiple of {self.multiple}, as 16 numbers of a row share an exponent; the nearest: "
            f"{nearest}; or use another dim, or typecast to bfloat16 first"
        )


class CollectiveTimeout(CollectiveError):
    """A chip waited in a collective for another one that did not come within the limit."""

    def __init__(self, chip: int, call: str, other: int, waited_s: float) -> None:
        super().__init__(chip, call, other, waited_s)
        self.chip, self.call, self.other, self.waited_s = chip, call, other, waited_s

    def __str__(self) -> str:
        return (
            f"chip {self.chip} waited {self.waited_s:.3g} s in {self.call} for chip {self.other}, "
            "which did not make this call (limit: collective_timeout_s of open_mesh)"
        )


class AlgorithmError(CollectiveError, ValueError):
    """An algorithm does not exist, or cannot do an operation on a group of chips."""

    def __init__(self, algorithm: str, operation: str, reason: str) -> None:
        super().__init__(algorithm, operation, reason)
        self.algorithm, self.operation, self.reason = algorithm, operation, reason

    def __str__(self) -> str:
        return f"algorithm {self.algorithm!r} for {self.operation}: {self.reason}"


class ScheduleError(CollectiveError):
    """A schedule does not do what its operation promises: the algorithm that made it is wrong."""


class CreditCycle(ScheduleError):
    """The packets of a schedule can wait for one another's buffers in a circle, and lock up."""

    def __init__(self, algorithm: str, operation: str, box: str, circle: str) -> None:
        super().__init__(algorithm, operation, box, circle)
        self.algorithm, self.operation, self.box = algorithm, operation, box
        self.circle = circle

    def __str__(self) -> str:
        return (
            f"{self.algorithm} {self.operation} can lock up on {self.box}: {self.circle}; a second "
            "virtual channel on a wrap breaks the circle"
        )
