"""Every transport passes the conformance suite."""

import pytest

from meshtwin.fabric.auth import new_keys
from meshtwin.fabric.transport import pair, shared_memory, zeromq
from meshtwin.fabric.transport.base import Transport
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.fabric.transport.shared_memory import SharedMemoryTransport
from meshtwin.fabric.transport.zeromq import ZmqTransport

from . import check_transport as suite
from .fabric_harness import Opener

KEYS = new_keys(3)


def open_small_rings(rank: int, num_chips: int) -> Transport:
    """Rings that every frame of some size must stream through."""
    return SharedMemoryTransport(rank, num_chips, slot_bytes=4096, ring_bytes=4096)


def open_encrypted(rank: int, num_chips: int) -> Transport:
    return ZmqTransport(rank, num_chips, keys=KEYS[rank])


def open_shared(rank: int, num_chips: int) -> Transport:
    return open_transport(rank, num_chips, "shared_memory")


def open_zeromq(rank: int, num_chips: int) -> Transport:
    return open_transport(rank, num_chips, "zeromq")


def open_on_two_hosts(rank: int, num_chips: int) -> Transport:
    """Chips 0 and 1 on one host, the others on another (in processes only)."""
    for module in (pair, shared_memory, zeromq):
        module.host_id = lambda: f"host {rank // 2}"  # type: ignore[attr-defined]
    return open_transport(rank, num_chips)


@pytest.mark.parametrize("opener", [SharedMemoryTransport, open_small_rings, ZmqTransport])
def test_a_transport_conforms_in_threads(opener: Opener) -> None:
    suite.check_transport(opener)


@pytest.mark.parametrize(
    "opener", [SharedMemoryTransport, open_small_rings, ZmqTransport, open_shared, open_zeromq]
)
def test_a_transport_conforms_between_processes(opener: Opener) -> None:
    suite.check_transport(opener, processes=True)


def test_shared_memory_conforms_without_the_compiled_words() -> None:
    suite.check_transport(SharedMemoryTransport, processes=True, portable=True)


@pytest.mark.skipif(KEYS[0] is None, reason="libzmq without CURVE")
def test_encrypted_zeromq_conforms() -> None:
    suite.check_transport(open_encrypted)


def test_a_mesh_on_two_hosts_conforms_over_both_roads() -> None:
    suite.check_transport(open_on_two_hosts, num_chips=4, processes=True)
