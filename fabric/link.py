"""What an Ethernet link can do: rate, latency, and counters of what went over it.

Throughput of one link and direction is the smaller of two bounds:

    line    line_rate x payload / (payload + header + overhead x frames)      the wire
    router  payload x packet_rate                                             the software

and a message of any size moves at that rate; what a short message pays on top is latency. The two
measured points of one hop (16 B and 4096 B) are both within 3 % of latency + bytes / throughput.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..chip.spec import Constant
from ..chip.units import PS_PER_NS, PS_PER_S


@dataclass(frozen=True)
class LinkSpec:
    """What one link can do in each direction. Sources: beside each value in data/boxes.toml."""

    name: str
    line_rate: Constant  # bytes/s
    packet_payload: Constant  # bytes
    packet_header: Constant  # bytes
    frame_payload: Constant  # bytes of an Ethernet frame
    frame_overhead: Constant  # bytes on the wire for each Ethernet frame
    packet_rate: Constant  # packets/s
    first_hop_latency: Constant  # ns, worker to worker over one link
    hop_latency: Constant  # ns, each further link
    bytes_per_s: int = field(init=False)
    first_hop_latency_ps: int = field(init=False)
    hop_latency_ps: int = field(init=False)

    def __post_init__(self) -> None:
        for name, constant in self.constants().items():
            if not constant.value > 0:
                raise ValueError(f"{self.name}: {name} (={constant.value}) must be > 0")
        derived = {
            "bytes_per_s": int(min(self._line_bound(), self._router_bound())),
            "first_hop_latency_ps": round(self.first_hop_latency.value * PS_PER_NS),
            "hop_latency_ps": round(self.hop_latency.value * PS_PER_NS),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def constants(self) -> Mapping[str, Constant]:
        """The measured and documented figures, by name."""
        return {k: v for k, v in vars(self).items() if isinstance(v, Constant)}

    @property
    def framing_efficiency(self) -> float:
        """Payload over bytes on the wire, for a full packet."""
        payload = self.packet_payload.value
        packet = payload + self.packet_header.value
        num_frames = -(-int(packet) // int(self.frame_payload.value))
        return float(payload / (packet + num_frames * self.frame_overhead.value))

    def transfer_ps(self, num_bytes: int, num_links: int = 1) -> int:
        """Time that `num_bytes` keep an edge of `num_links` links busy, in picoseconds."""
        if num_bytes < 0 or num_links < 1:
            raise ValueError(
                f"num_bytes (={num_bytes}) must be >= 0, num_links (={num_links}) must be >= 1"
            )
        return -(-num_bytes * PS_PER_S // (self.bytes_per_s * num_links))

    def latency_ps(self, num_hops: int) -> int:
        """Time until the first byte has crossed `num_hops` links, in picoseconds; 0 for no hop."""
        if num_hops < 1:
            return 0
        return self.first_hop_latency_ps + (num_hops - 1) * self.hop_latency_ps

    def _line_bound(self) -> float:
        return float(self.line_rate.value * self.framing_efficiency)

    def _router_bound(self) -> float:
        return float(self.packet_payload.value * self.packet_rate.value)


@dataclass(frozen=True, slots=True)
class LinkStatistics:
    """What went over one directed edge."""

    num_messages: int
    num_bytes: int


class LinkCounters:
    """Bytes and messages of each directed edge (src, dst)."""

    def __init__(self) -> None:
        self.bytes: dict[tuple[int, int], int] = {}
        self.messages: dict[tuple[int, int], int] = {}

    def add(self, src: int, dst: int, num_bytes: int, num_messages: int = 1) -> None:
        """Count a message (or a batch of them) on the edge from `src` to `dst`."""
        edge = (src, dst)
        self.bytes[edge] = self.bytes.get(edge, 0) + num_bytes
        self.messages[edge] = self.messages.get(edge, 0) + num_messages

    def statistics(self) -> Mapping[tuple[int, int], LinkStatistics]:
        """What each directed edge carried so far, in order of (src, dst)."""
        edges = sorted(self.bytes)
        return MappingProxyType({e: LinkStatistics(self.messages[e], self.bytes[e]) for e in edges})

    def clear(self) -> None:
        """Forget everything counted so far."""
        self.bytes.clear()
        self.messages.clear()
