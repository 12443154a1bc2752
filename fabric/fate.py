"""What becomes of a packet on a link."""

from enum import Enum
from typing import Protocol, TypeAlias

Link: TypeAlias = tuple[int, int]
"""One direction between two neighbouring chips, (src, dst)."""


UNNUMBERED = 1 << 62
"""Messages from here on stand for none of the box: they get across, whatever the links do."""


class Fate(Enum):
    """What a link does to a packet."""

    DELIVERED = "delivered"
    DROPPED = "dropped"
    CORRUPTED = "corrupted"


class Fates(Protocol):
    """Decides the fate of each packet: a pure function, so every run repeats it exactly."""

    def fate(self, link: Link, message: int, packet: int, attempt: int) -> Fate:
        """What happens when `packet` of `message` crosses `link` for the `attempt`-th time (0..).

        A message is numbered by its sender, from zero in each run.
        """
