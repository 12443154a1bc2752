"""What moving data over the NoC of a chip costs: reads, writes, multicasts, alone and together.

A transaction takes a fixed time, 9 clocks a hop there and back, and its bytes at the rate of a link
or of DRAM; a core issues the next one after some clocks, without waiting for the last. A multicast
first reserves its path, again for every packet. Constants: data/noc.toml; their fit: docs/noc.md.
"""

from collections.abc import Iterable, Sequence

from ..errors import InvalidArgument
from ..grid import CoreKind, Xy
from ..harvesting import Core, Floorplan, floorplan_of
from ..spec import ChipSpec
from ..units import PS_PER_S
from .costs import NocCosts, load_noc_costs
from .routes import Link, multicast_tree, round_trip_hops, route
from .sharing import finish_times
from .transfer import Resource, Transfer


class Noc:
    """Both NoCs of one chip. Places are NoC0 coordinates; data goes from src to dst.

    Args:
        spec: the chip.
        floorplan: which cores it has; the default of its product.
        costs: the constants; those of its architecture.
    """

    def __init__(
        self, spec: ChipSpec, floorplan: Floorplan | None = None, costs: NocCosts | None = None
    ) -> None:
        self.spec = spec
        self.floorplan = floorplan or floorplan_of(spec)
        self.costs = costs or load_noc_costs(spec.arch)
        self.grid = self.floorplan.grid

    def read(
        self, src: Xy, dst: Xy, num_bytes: int, transactions: int = 1, noc: int = 0
    ) -> Transfer:
        """The core at dst reads from src: an L1, or a bank through one of its ports.

        Args:
            num_bytes: of one transaction, 1 or more.
            transactions: issued one after the other, with one barrier after the last.
        Raises:
            NoSuchCore: no usable core is there; the nearest one is named.
            InvalidArgument: it would be a DRAM port that starts it, or a number is under 1.
        """
        return self._unicast("read", src, dst, num_bytes, transactions, noc)

    def write(
        self, src: Xy, dst: Xy, num_bytes: int, transactions: int = 1, noc: int = 0
    ) -> Transfer:
        """The core at src writes to dst and waits for the acknowledgement. Else like `read`."""
        return self._unicast("write", src, dst, num_bytes, transactions, noc)

    def multicast(
        self, src: Xy, rectangle: tuple[Xy, Xy], num_bytes: int, transactions: int = 1, noc: int = 0
    ) -> Transfer:
        """The core at src writes to every Tensix core of a rectangle, itself too if it is inside.

        Args:
            rectangle: its top left and bottom right corner, both inside.
        Raises:
            NoSuchCore: no usable core is at src.
            InvalidArgument: the corners are in the wrong order, no Tensix core is inside, or src
                is a DRAM port.
        """
        _check(num_bytes, transactions)
        _check_initiator("multicast", self.floorplan.usable(src))
        dsts = self._receivers(rectangle)
        links, depth = multicast_tree(self.grid, noc, src, *rectangle)
        hops = max(round_trip_hops(self.grid, src, dst) for dst in dsts)
        packets = transactions * -(-num_bytes // self.costs.packet_bytes)
        reserve = packets * depth * self.costs.multicast_hop_clocks
        stream = num_bytes * transactions / self.costs.link_bytes_per_clock
        startup = self.costs.write_clocks + hops * self.costs.hop_clocks
        link_rate = self._per_second(self.costs.link_bytes_per_clock)
        ways: list[Resource] = [("receive", noc, dst) for dst in dsts]
        return Transfer(
            "multicast", noc, src, dsts, num_bytes, transactions, hops, links,
            sim_startup_ps=self._ps(startup),
            rate_bytes_per_s=self._per_second(num_bytes * transactions / (reserve + stream)),
            capacities=tuple((way, link_rate) for way in (("send", noc, src), *links, *ways)),
        )  # fmt: skip

    def together(self, transfers: Sequence[Transfer]) -> list[int]:
        """When each transfer is done if all start at once and share: simulated picoseconds."""
        return finish_times(transfers)

    def adjacent_worker(self, bank: int, noc: int = 0) -> Core:
        """The worker that data of a bank reaches in the fewest hops on a NoC."""
        port = self.floorplan.dram_port(bank, noc).noc0

        def distance(core: Core) -> tuple[int, Xy]:
            return len(route(self.grid, noc, port, core.noc0)), core.noc0

        return min(self.floorplan.worker_cores(), key=distance)

    def _unicast(
        self, what: str, src: Xy, dst: Xy, num_bytes: int, transactions: int, noc: int
    ) -> Transfer:
        _check(num_bytes, transactions)
        ends = self.floorplan.usable(src), self.floorplan.usable(dst)
        is_read, is_dram = what == "read", any(end.kind is CoreKind.DRAM for end in ends)
        initiator = ends[1] if is_read else ends[0]
        _check_initiator(what, initiator)
        costs = self.costs
        rate = costs.link_bytes_per_clock
        if is_dram:
            rate = min(rate, costs.dram_port_bytes_per_clock)
        first = num_bytes / rate
        each = max(first, costs.issue_clocks(is_read, is_dram)) if transactions > 1 else first
        hops = round_trip_hops(self.grid, src, dst)
        startup = costs.fixed_clocks(is_read, is_dram) + hops * costs.hop_clocks + first - each
        links = route(self.grid, noc, src, dst)
        link_rate = self._per_second(costs.link_bytes_per_clock)
        ways = (("send", noc, src), *links, ("receive", noc, dst))
        return Transfer(
            what, noc, src, (dst,), num_bytes, transactions, hops, links,
            sim_startup_ps=self._ps(startup),
            rate_bytes_per_s=self._per_second(num_bytes / each),
            capacities=(*((way, link_rate) for way in ways), *self._dram(ends)),
        )  # fmt: skip

    def _dram(self, ends: Iterable[Core]) -> Iterable[tuple[Resource, int]]:
        """The ports and channels that a transfer between two cores loads."""
        for core in ends:
            if core.kind is CoreKind.DRAM and core.logical is not None:
                port = self._per_second(self.costs.dram_port_bytes_per_clock)
                yield ("port", core.noc0), port
                yield (
                    ("channel", core.logical[0]),
                    self._per_second(self.costs.dram_bytes_per_clock),
                )

    def _receivers(self, rectangle: tuple[Xy, Xy]) -> tuple[Xy, ...]:
        (left, top), (right, bottom) = rectangle
        if left > right or top > bottom:
            raise InvalidArgument(
                f"a rectangle needs its top left and then its bottom right corner, not {rectangle}"
            )
        for corner in rectangle:
            self.grid.kind(corner)
        inside = tuple(
            core.noc0
            for core in self.floorplan.cores_of(CoreKind.TENSIX)
            if not core.is_harvested
            and left <= core.noc0[0] <= right
            and top <= core.noc0[1] <= bottom
        )
        if not inside:
            raise InvalidArgument(f"no Tensix core is in the rectangle {rectangle}")
        return inside

    def _ps(self, clocks: float) -> int:
        return round(clocks * PS_PER_S / self.spec.clock_hz)

    def _per_second(self, bytes_per_clock: float) -> int:
        return int(bytes_per_clock * self.spec.clock_hz)


def traffic(transfers: Iterable[Transfer]) -> dict[Link, int]:
    """The bytes that cross each link, of links that any of the transfers uses."""
    loads: dict[Link, int] = {}
    for transfer in transfers:
        for link in transfer.route:
            loads[link] = loads.get(link, 0) + transfer.num_bytes
    return loads


def _check_initiator(what: str, core: Core) -> None:
    if core.kind is CoreKind.DRAM:
        raise InvalidArgument(f"the DRAM port at {core.noc0} starts no {what}: a core must")


def _check(num_bytes: int, transactions: int) -> None:
    for name, value in (("num_bytes", num_bytes), ("transactions", transactions)):
        if value < 1:
            raise InvalidArgument(f"{name} (={value}) must be 1 or more")
