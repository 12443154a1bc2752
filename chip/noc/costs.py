"""The constants of the NoC model, in clocks and bytes a clock. Their values: data/noc.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..errors import InvalidArgument
from ..spec import Constant, read_constants


@dataclass(frozen=True, slots=True)
class NocCosts:
    """What a transfer costs on an architecture. `constants` has kind and source of each."""

    hop_clocks: float  # a router passes a packet on
    read_clocks: float  # latency of an L1 read, without hops and data
    write_clocks: float  # of an acknowledged L1 write
    dram_read_clocks: float  # what DRAM adds
    dram_write_clocks: float
    read_issue_clocks: float  # between two transactions of one core
    write_issue_clocks: float
    dram_read_issue_clocks: float
    dram_write_issue_clocks: float
    multicast_hop_clocks: float  # reserving the path, per hop and packet
    link_bytes_per_clock: float
    packet_bytes: int
    dram_bytes_per_clock: float  # of a bank (Blackhole) or channel (Wormhole)
    dram_port_bytes_per_clock: float  # of one of its ports
    constants: Mapping[str, Constant]

    def issue_clocks(self, is_read: bool, is_dram: bool) -> float:
        """The least time from one transaction of a core to its next."""
        if is_dram:
            return self.dram_read_issue_clocks if is_read else self.dram_write_issue_clocks
        return self.read_issue_clocks if is_read else self.write_issue_clocks

    def fixed_clocks(self, is_read: bool, is_dram: bool) -> float:
        """What a transaction takes beside its hops and its data."""
        fixed = self.read_clocks if is_read else self.write_clocks
        dram = self.dram_read_clocks if is_read else self.dram_write_clocks
        return fixed + (dram if is_dram else 0)


@cache
def load_noc_costs(arch: str) -> NocCosts:
    """The constants of an architecture: "blackhole" or "wormhole_b0".

    Raises:
        InvalidArgument: data/noc.toml has no such architecture.
    """
    tables = tomllib.loads((files("meshtwin.chip") / "data" / "noc.toml").read_text())
    if arch not in tables:
        raise InvalidArgument(f"unknown architecture {arch!r}. Known: {', '.join(tables)}.")
    constants = read_constants(tables[arch], f"noc.{arch}")
    values = {name: constant.value for name, constant in constants.items()}
    packet_bytes = int(values.pop("packet_bytes"))
    return NocCosts(packet_bytes=packet_bytes, **values, constants=constants)
