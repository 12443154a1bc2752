"""The root of the error tree, and one chip's errors; positional fields, so each can be pickled."""

from collections.abc import Sequence
from difflib import get_close_matches


class MeshtwinError(Exception):
    """The root of every error that meshtwin raises on purpose."""


class InvalidArgument(MeshtwinError, ValueError):
    """A value that the caller gave is not allowed; `chip` and `op` say where, when known."""

    def __init__(self, message: str, op: str = "", chip: int | None = None) -> None:
        super().__init__(message, op, chip)
        self.message, self.op, self.chip = message, op, chip

    def __str__(self) -> str:
        return _place(self.op, self.chip) + self.message

    def at(self, op: str, chip: int) -> "InvalidArgument":
        """The same error with its place."""
        return type(self)(self.message, self.op or op, chip)


class ShapeError(InvalidArgument):
    """The shapes of an op's inputs do not fit together."""


class DTypeError(InvalidArgument):
    """An op or a tensor does not take this data type."""


class OpError(MeshtwinError):
    """An op failed in a way its rules did not foresee: a defect of meshtwin, or of its input."""

    def __init__(self, chip: int, op: str, cause: str) -> None:
        super().__init__(chip, op, cause)
        self.chip, self.op, self.cause = chip, op, cause

    def __str__(self) -> str:
        return _place(self.op, self.chip) + self.cause


class OutOfMemory(MeshtwinError):
    """A chip's DRAM or L1 has no free block that is large enough. Bytes are those of one bank.

    `asked_bytes` and `free_bytes` are in all banks together, as `holders`: (what, bytes) of the
    largest.
    """

    def __init__(
        self,
        chip: int,
        buffer: str,
        what: str,
        asked_bank_bytes: int,
        num_banks: int,
        free_bank_bytes: int,
        largest_free_block_bytes: int,
        bank_bytes: int,
        holders: Sequence[tuple[str, int]] = (),
    ) -> None:
        super().__init__(
            chip,
            buffer,
            what,
            asked_bank_bytes,
            num_banks,
            free_bank_bytes,
            largest_free_block_bytes,
            bank_bytes,
            tuple(holders),
        )
        self.chip, self.buffer, self.what = chip, buffer, what
        self.asked_bank_bytes, self.num_banks = asked_bank_bytes, num_banks
        self.free_bank_bytes, self.bank_bytes = free_bank_bytes, bank_bytes
        self.largest_free_block_bytes = largest_free_block_bytes
        self.holders = tuple(holders)

    @property
    def asked_bytes(self) -> int:
        """What it would have taken of all banks."""
        return self.asked_bank_bytes * self.num_banks

    @property
    def free_bytes(self) -> int:
        """What is free in all banks."""
        return self.free_bank_bytes * self.num_banks

    @property
    def capacity_bytes(self) -> int:
        """What tensors can use of all banks."""
        return self.bank_bytes * self.num_banks

    @property
    def fragmentation(self) -> float:
        """The part of the free bytes that is outside the largest free block, 0 to 1."""
        free = self.free_bank_bytes
        return 1 - self.largest_free_block_bytes / free if free else 0.0

    def __str__(self) -> str:
        banks = "banks" if self.buffer == "DRAM" else "cores"
        text = (
            f"chip {self.chip}: {self.buffer} has no room for {self.what!r}: it needs "
            f"{human_bytes(self.asked_bytes)}, {human_bytes(self.asked_bank_bytes)} in each of "
            f"{self.num_banks} {banks}, where {human_bytes(self.free_bank_bytes)} of "
            f"{human_bytes(self.bank_bytes)} are free"
        )
        if self.fragmentation:
            text += (
                f" and the largest free block is {human_bytes(self.largest_free_block_bytes)} "
                f"({self.fragmentation:.0%} fragmented)"
            )
        if not self.holders:
            return text
        held = ", ".join(f"{what} {human_bytes(size)}" for what, size in self.holders)
        return f"{text}. Held by: {held}"


class CircularBufferClash(MeshtwinError):
    """The circular buffers of an op and what lies in L1 do not fit beside each other.

    Bytes and addresses are those of one core. `tensor` is the label of the L1 tensor in the way;
    "" when there is none, and the circular buffers alone are more than L1.
    """

    def __init__(
        self, chip: int, op: str, circular_bytes: int, start: int, end: int, tensor: str
    ) -> None:
        super().__init__(chip, op, circular_bytes, start, end, tensor)
        self.chip, self.op, self.circular_bytes = chip, op, circular_bytes
        self.start, self.end, self.tensor = start, end, tensor

    def __str__(self) -> str:
        taken = self.start + self.circular_bytes
        what = f"tensor {self.tensor!r} in L1 begins" if self.tensor else "L1 ends"
        return _place(self.op, self.chip) + (
            f"its circular buffers take {human_bytes(self.circular_bytes)} of every core, from "
            f"{self.start} to {taken}, but {what} at {self.end}: "
            f"{human_bytes(taken - self.end)} too many"
        )


class UseAfterFree(MeshtwinError):
    """An op reads a tensor that was freed."""

    def __init__(self, chip: int | None, op: str, tensor: str) -> None:
        super().__init__(chip, op, tensor)
        self.chip, self.op, self.tensor = chip, op, tensor

    def __str__(self) -> str:
        return _place(self.op, self.chip) + f"{self.tensor} was freed"


class UninitializedRead(MeshtwinError):
    """An op reads elements that nothing wrote (found in checked mode)."""

    def __init__(self, chip: int, op: str, tensor: str, num_elements: int, num_unwritten: int):
        super().__init__(chip, op, tensor, num_elements, num_unwritten)
        self.chip, self.op, self.tensor = chip, op, tensor
        self.num_elements, self.num_unwritten = num_elements, num_unwritten

    def __str__(self) -> str:
        return _place(self.op, self.chip) + (
            f"reads {self.num_elements} elements of {self.tensor}, of which nothing has written "
            f"{self.num_unwritten}"
        )


class UnknownProduct(MeshtwinError):
    """No chip of that name is in products.toml."""

    def __init__(self, name: str, nearest: str, known: Sequence[str]) -> None:
        super().__init__(name, nearest, tuple(known))
        self.name, self.nearest, self.known = name, nearest, tuple(known)

    def __str__(self) -> str:
        hint = did_you_mean(self.nearest)
        return f"unknown product {self.name!r}{hint} Known: {', '.join(self.known)}."


class NoSuchCore(MeshtwinError, ValueError):
    """A chip has no such core, or it is harvested. `what` says which coordinates were meant."""

    def __init__(self, what: str, xy: tuple[int, int], nearest: tuple[int, int]) -> None:
        super().__init__(what, xy, nearest)
        self.what, self.xy, self.nearest = what, xy, nearest

    def __str__(self) -> str:
        return f"there is no {self.what} at {self.xy}; the nearest is {self.nearest}"


def nearest_name(name: str, known: Sequence[str]) -> str:
    """The known name most like this one, or ""."""
    found = get_close_matches(name, known, n=1, cutoff=0.5)
    return found[0] if found else ""


def did_you_mean(nearest: str) -> str:
    """The middle of an error text: a full stop, or a suggestion."""
    return f": did you mean {nearest!r}?" if nearest else "."


def human_bytes(num_bytes: int) -> str:
    """A byte count as people say it: 1.50 GiB, 320 B."""
    size = float(num_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            return f"{num_bytes} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def _place(op: str, chip: int | None) -> str:
    where = f"chip {chip}" if chip is not None else ""
    place = ", ".join(part for part in (where, op) if part)
    return f"{place}: " if place else ""
