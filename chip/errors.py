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
    """A chip's DRAM cannot hold one more tensor. `holders`: (what, bytes) of the largest."""

    def __init__(
        self,
        chip: int,
        asked_bytes: int,
        free_bytes: int,
        capacity_bytes: int,
        what: str,
        holders: Sequence[tuple[str, int]] = (),
    ) -> None:
        super().__init__(chip, asked_bytes, free_bytes, capacity_bytes, what, tuple(holders))
        self.chip, self.asked_bytes, self.free_bytes = chip, asked_bytes, free_bytes
        self.capacity_bytes, self.what, self.holders = capacity_bytes, what, tuple(holders)

    def __str__(self) -> str:
        text = (
            f"chip {self.chip}: DRAM has no room for {self.what!r}: it needs "
            f"{human_bytes(self.asked_bytes)}, and {human_bytes(self.free_bytes)} of "
            f"{human_bytes(self.capacity_bytes)} are free"
        )
        if not self.holders:
            return text
        held = ", ".join(f"{what} {human_bytes(size)}" for what, size in self.holders)
        return f"{text}. Held by: {held}"


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
