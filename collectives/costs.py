"""What a collective costs besides its links: start-up, a step, and the addition on arrival."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..chip.spec import Constant

PS_PER_US = 1_000_000
PS_PER_S = 1_000_000_000_000


@dataclass(frozen=True, slots=True)
class CollectiveCosts:
    """Constants of the time of a collective, each with its source (data/costs.toml)."""

    startup: Constant
    step_overhead: Constant
    reduce_bandwidth: Constant

    @property
    def startup_ps(self) -> int:
        """From the call to the first byte on a link, in simulated picoseconds."""
        return round(float(self.startup.value) * PS_PER_US)

    @property
    def step_overhead_ps(self) -> int:
        """What a step costs a chip beyond latency and transfer, in simulated picoseconds."""
        return round(float(self.step_overhead.value) * PS_PER_US)

    def reduce_ps(self, num_bytes: int) -> int:
        """Adding `num_bytes` that arrived to the chip's own, in simulated picoseconds."""
        rate = round(float(self.reduce_bandwidth.value) * 1e9)
        return num_bytes * PS_PER_S // rate


@cache
def load_costs() -> CollectiveCosts:
    """The constants of data/costs.toml."""
    text = resources.files(__package__).joinpath("data/costs.toml").read_text(encoding="utf-8")
    return CollectiveCosts(
        **{name: Constant(**entry) for name, entry in tomllib.loads(text).items()}
    )
