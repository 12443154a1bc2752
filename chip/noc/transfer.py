"""One movement of data over a NoC: its way, and its simulated time when nothing else moves."""

from dataclasses import dataclass, field

from ..grid import Xy
from ..units import PS_PER_S
from .routes import Link

Resource = tuple[object, ...]
"""Something that transfers share: a link, a core's way in or out of a NoC, a DRAM bank."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Data from one core to others. A read is started by its receiver, the rest by the sender.

    `hops` counts there and back again; `route` is the way of the data alone. Alone, it takes its
    start-up and then moves its bytes at `rate_bytes_per_s`.
    """

    what: str  # read, write or multicast
    noc: int
    src: Xy
    dsts: tuple[Xy, ...]
    transaction_bytes: int
    num_transactions: int
    hops: int
    route: tuple[Link, ...]
    sim_startup_ps: int
    rate_bytes_per_s: int
    capacities: tuple[tuple[Resource, int], ...] = field(repr=False)  # bytes a second

    @property
    def num_bytes(self) -> int:
        """Bytes of all transactions; those of a multicast count once."""
        return self.transaction_bytes * self.num_transactions

    @property
    def sim_latency_ps(self) -> int:
        """Simulated time from the first command to the last answer, when nothing else moves."""
        return self.sim_startup_ps + -(-self.num_bytes * PS_PER_S // self.rate_bytes_per_s)

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Bytes by simulated time, when nothing else moves."""
        return self.num_bytes * PS_PER_S / self.sim_latency_ps
