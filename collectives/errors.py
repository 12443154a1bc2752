"""What can go wrong in a collective."""

from ..chip.errors import MeshtwinError


class CollectiveError(MeshtwinError):
    """A collective could not be carried out."""


class CollectiveMismatch(CollectiveError):
    """Two chips called different collectives at the same place. Raised on every chip of the group.

    Fields: the chip that raises, the first chip that differs from the group's first chip, and what
    each of the two called.
    """

    def __init__(self, chip: int, first: int, first_call: str, other: int, other_call: str) -> None:
        super().__init__(chip, first, first_call, other, other_call)
        self.chip, self.first, self.other = chip, first, other
        self.first_call, self.other_call = first_call, other_call

    def __str__(self) -> str:
        return (
            f"chip {self.first} called {self.first_call}, but chip {self.other} called "
            f"{self.other_call}: every chip of a group must make the same collective calls "
            "in the same order"
        )


class ChunkError(CollectiveError, ValueError):
    """A tensor cannot be cut over the chips of a group along the dim that was asked for."""

    def __init__(self, op: str, shape: tuple[int, ...], dim: int, num_ranks: int) -> None:
        super().__init__(op, shape, dim, num_ranks)
        self.op, self.shape, self.dim, self.num_ranks = op, shape, dim, num_ranks

    def __str__(self) -> str:
        return f"{self.op}: {cut_problem(self.shape, self.dim, self.num_ranks)}"


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


class ScheduleError(CollectiveError):
    """A schedule does not do what its operation promises: the algorithm that made it is wrong."""


def cut_problem(shape: tuple[int, ...], dim: int, parts: int) -> str | None:
    """Why a tensor cannot be cut along `dim` in equal parts, and the nearest legal choice.

    None when it can; a dim of size 0 can, in empty parts.
    """
    if not shape:
        return "a tensor of shape () has no dim that could be cut"
    if not -len(shape) <= dim < len(shape):
        return (
            f"dim {dim} is not a dim of shape {shape}; legal dims are "
            f"{-len(shape)} to {len(shape) - 1}"
        )
    size = shape[dim]
    if size % parts == 0:
        return None
    below, above = size // parts * parts, (size // parts + 1) * parts
    nearest = f"sizes are {below} and {above}" if below else f"size is {above}"
    return (
        f"dim {dim} of shape {shape} has size {size}, which does not divide over {parts} chips; "
        f"the nearest legal {nearest}"
    )
