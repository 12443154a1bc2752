"""What `meshtwin noc --json` prints: the cores of a chip, transfers, and traffic on links."""

from typing import Any

from ..chip.noc import Noc, Transfer, traffic
from ..chip.units import PS_PER_S


def values(noc: Noc, index: int, transfers: list[Transfer], done: list[int]) -> dict[str, Any]:
    """All of it as plain values; times in simulated picoseconds."""
    return {
        "product": noc.spec.name,
        "noc": index,
        "sim_done_ps": max(done, default=0),
        "transfers": [
            {
                "what": transfer.what,
                "src": transfer.src,
                "dsts": transfer.dsts,
                "transaction_bytes": transfer.transaction_bytes,
                "num_transactions": transfer.num_transactions,
                "hops": transfer.hops,
                "num_links": len(transfer.route),
                "sim_latency_ps": transfer.sim_latency_ps,
                "sim_done_ps": finish,
                "sim_bandwidth_GB_per_s": transfer.num_bytes * PS_PER_S / finish / 1e9,
            }
            for transfer, finish in zip(transfers, done, strict=True)
        ],
        "links": [
            {"src": link.src, "dst": link.dst, "bytes": load}
            for link, load in traffic(transfers).items()
        ],
        "cores": [
            {
                "kind": core.kind.value,
                "noc0": core.noc0,
                "noc1": core.noc1,
                "logical": core.logical,
                "translated": core.translated,
                "is_harvested": core.is_harvested,
                "is_worker": noc.floorplan.is_worker(core),
            }
            for core in noc.floorplan.cores
        ],
    }
