"""Which core of its host a chip's process keeps to, when there are more chips than cores.

Chips work in lockstep: each collective waits for the last one. With more processes than cores a
scheduler that puts three of four on one core makes all of them wait, so each chip keeps to a core
of its own choosing, evenly. With a core for everybody, nothing is pinned.
"""

import os
from collections.abc import Sequence

from ..fabric.transport.base import Address


def core_of(rank: int, addresses: Sequence[Address], cores: Sequence[int]) -> int | None:
    """The core for chip `rank`, or None when its host has a core for each of its chips.

    Args:
        addresses: of all chips, which say who shares a host.
        cores: the cores that this process may use.
    """
    host = next(address.host_id for address in addresses if address.rank == rank)
    local = sorted(address.rank for address in addresses if address.host_id == host)
    if len(local) <= len(cores):
        return None
    return cores[local.index(rank) % len(cores)]


def keep_to_core(rank: int, addresses: Sequence[Address]) -> None:
    """Pin the calling thread to its core, where the system has such a thing."""
    if hasattr(os, "sched_setaffinity"):
        core = core_of(rank, addresses, sorted(os.sched_getaffinity(0)))
        if core is not None:
            os.sched_setaffinity(0, {core})
