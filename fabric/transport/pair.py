"""Shared memory to chips of the same host, ZeroMQ to the others: what a mesh opens.

    transport = open_transport(rank, num_chips)   # on every chip
    transport.address                             # goes to the driver, which hands all to all
    transport.connect(addresses)

Both ends of a pair decide from the same two addresses, so they always agree.
"""

from collections.abc import Sequence
from typing import Any

from ..auth import Keys
from ..errors import SharedMemoryRefused, UnknownRank
from ..flight_recorder import FlightRecorder
from .base import SEND_TIMEOUT_S, Address, Buffer, TransportStatistics, host_id
from .flight import new_recorder
from .shared_memory import SharedMemoryTransport
from .window import Window
from .zeromq import Frame, ZmqTransport

MODES = ("auto", "shared_memory", "zeromq")


class PairTransport:
    """A chip's end of the mesh: for each peer the best road there is."""

    def __init__(
        self,
        rank: int,
        num_chips: int,
        shared: SharedMemoryTransport | None,
        zeromq: ZmqTransport | None,
    ) -> None:
        self._num_chips = num_chips
        self._shared = shared
        self._zeromq = zeromq
        self._ends = tuple(end for end in (shared, zeromq) if end is not None)
        self._roads: dict[int, SharedMemoryTransport | ZmqTransport] = {}
        segment = shared.address.segment if shared is not None else None
        url = zeromq.address.url if zeromq is not None else None
        self._recorder = new_recorder(rank) if shared is None else shared.recorder
        self._address = Address(rank, host_id(), segment, url)

    @property
    def rank(self) -> int:
        """The chip this end belongs to."""
        return self._address.rank

    @property
    def address(self) -> Address:
        """Where peers find this end."""
        return self._address

    def connect(self, addresses: Sequence[Address]) -> None:
        """Choose a road to each peer. See Transport.

        Raises:
            SharedMemoryRefused: a peer has no road in common with this chip.
        """
        ranks = sorted(address.rank for address in addresses)
        if ranks != list(range(self._num_chips)):
            raise ValueError(f"addresses (of ranks {ranks}) must be one for each chip")
        local = [a for a in addresses if self._is_local(a)]
        remote = [a for a in addresses if not self._is_local(a)]
        if self._shared is not None:
            self._shared.connect(local)
            self._roads |= dict.fromkeys((a.rank for a in local), self._shared)
        if (remote and self._zeromq is None) or any(a.url is None for a in remote):
            far = next(a for a in remote if self._zeromq is None or a.url is None)
            raise SharedMemoryRefused(f"chip {far.rank} is on another host", 'mode="shared_memory"')
        if self._zeromq is not None:
            self._zeromq.connect([*remote, self._address])  # itself: an abort wakes it too
            self._roads |= dict.fromkeys((a.rank for a in remote), self._zeromq)
        self._watch_each_other(bool(local), bool(remote))

    def send(
        self,
        dst: int,
        header: bytes,
        payload: Buffer | None = None,
        timeout_s: float = SEND_TIMEOUT_S,
    ) -> None:
        """Send a frame. See Transport."""
        self._road(dst).send(dst, header, payload, timeout_s)

    def recv(self, src: int, timeout_s: float) -> Frame:
        """The next frame of this run from `src`. See Transport."""
        return self._road(src).recv(src, timeout_s)

    def abort(self, run_id: int) -> None:
        """Wake every waiting chip with PeerAborted. See Transport."""
        for end in self._ends:
            end.abort(run_id)

    def begin_run(self, run_id: int) -> None:
        """Start a run. See Transport."""
        for end in self._ends:
            end.begin_run(run_id)

    def kinds(self) -> dict[int, str]:
        """The road to each peer, by rank: "shared_memory" or "zeromq"."""
        names = {SharedMemoryTransport: "shared_memory", ZmqTransport: "zeromq"}
        return {rank: names[type(road)] for rank, road in sorted(self._roads.items())}

    def window(self, group: tuple[int, ...], channel: int) -> Window | None:
        """The group's slots on a channel; None unless all members share this host's memory."""
        if self._shared is None or any(self._roads.get(r) is not self._shared for r in group):
            return None
        return self._shared.window(group, channel)

    @property
    def recorder(self) -> FlightRecorder:
        """What this chip does: in shared memory, where there is any."""
        return self._recorder

    def flights(self) -> dict[int, memoryview]:
        """The flight recorders of the chips of this host that are in this run, by rank."""
        return {} if self._shared is None else self._shared.flights()

    def install_heap(self) -> bool:
        """Let the arrays of this thread be born in shared memory; False where there is none."""
        return self._shared is not None and self._shared.install_heap()

    def offset_of(self, array: Any) -> int:
        """Where in this chip's segment the data of an array begins; -1: not there."""
        return -1 if self._shared is None else self._shared.offset_of(array)

    def statistics(self) -> TransportStatistics:
        """What was carried so far, on all roads."""
        return sum((end.statistics() for end in self._ends), TransportStatistics())

    def close(self) -> None:
        """Give everything back. See Transport."""
        for end in self._ends:
            end.close()

    def _is_local(self, address: Address) -> bool:
        same_host = address.host_id == self._address.host_id
        return self._shared is not None and address.segment is not None and same_host

    def _road(self, rank: int) -> SharedMemoryTransport | ZmqTransport:
        road = self._roads.get(rank)
        if road is None:
            raise UnknownRank(rank, self._num_chips, "not connected")
        return road

    def _watch_each_other(self, local: bool, remote: bool) -> None:
        """A wait on one road must end when an abort comes in over the other."""
        if self._shared is None or self._zeromq is None:
            return
        self._shared.interrupt = self._zeromq.check_abort if remote else None
        self._zeromq.interrupt = self._shared.check_abort if local else None


def open_transport(
    rank: int,
    num_chips: int,
    mode: str = "auto",
    keys: Keys | None = None,
    node_ip: str | None = None,
) -> PairTransport:
    """A chip's end of the mesh, with an address for its peers; connect() completes it.

    Args:
        mode: "shared_memory" opens no port and suits a mesh on one host; "zeromq" shares no memory;
            "auto" is ready for both, and does without shared memory where it is refused.
        keys: of this chip (fabric.auth.new_keys), to encrypt what goes over the network.
        node_ip: the address of this node that other hosts reach. By default its outward address
            when there are keys; without keys, 127.0.0.1: nobody else gets in.
    Raises:
        SharedMemoryRefused: mode is "shared_memory" and the system has none.
        PortRefused: no port of `node_ip` can be bound.
    """
    if mode not in MODES:
        raise ValueError(f"mode (={mode!r}) must be one of {', '.join(MODES)}")
    if not 0 <= rank < num_chips:
        raise UnknownRank(rank, num_chips, "open_transport")
    shared = None
    if mode != "zeromq":
        try:
            shared = SharedMemoryTransport(rank, num_chips)
        except SharedMemoryRefused:
            if mode == "shared_memory":
                raise
    try:
        zeromq = None
        if mode != "shared_memory":
            zeromq = ZmqTransport(rank, num_chips, keys, node_ip)
    except BaseException:
        if shared is not None:
            shared.close()
        raise
    return PairTransport(rank, num_chips, shared, zeromq)
