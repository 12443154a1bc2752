"""What a collective costs besides its links: start-up, steps, additions, the chip's own copy."""

import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources

from ..chip.spec import Constant, load_product
from ..chip.units import PS_PER_S, PS_PER_US
from ..fabric.topology import Box


@dataclass(frozen=True, slots=True)
class CollectiveCosts:
    """Constants of the time of a collective on one architecture (data/costs.toml has sources).

    Rates are for one physical link of an edge: each link of each direction has workers of its own.
    """

    clock: Constant  # MHz
    startup: Constant  # us, from the call until a chip tells the others that it is there
    step_overhead: Constant  # cycles, a step beyond latency and transfer
    reduce_overhead: Constant  # cycles, what an addition adds to its step, of any size
    reduce_bandwidth: Constant  # GB/s for each link, the last addition, which writes the result
    copy_bandwidth: Constant  # GB/s for each link, the chip's own chunk into its result
    copy_hidden_above: Constant  # bytes over a link; 0: the copy is never hidden
    startup_ps: int = field(init=False)
    step_overhead_ps: int = field(init=False)
    reduce_overhead_ps: int = field(init=False)

    def __post_init__(self) -> None:
        for name in ("clock", "reduce_bandwidth", "copy_bandwidth"):
            if not getattr(self, name).value > 0:
                raise ValueError(f"{name} (={getattr(self, name).value}) must be > 0")
        object.__setattr__(self, "startup_ps", round(self.startup.value * PS_PER_US))
        for name in ("step_overhead", "reduce_overhead"):
            cycles = float(getattr(self, name).value)
            ps = round(cycles * PS_PER_US / float(self.clock.value))
            object.__setattr__(self, f"{name}_ps", ps)

    def reduce_ps(self, num_bytes: int, num_links: int = 1, forwards: bool = False) -> int:
        """What an addition takes after the last of `num_bytes` came, in simulated picoseconds.

        A sum that goes on to the next chip is added and sent as its packets come, so only the
        overhead is left; the last sum is written out after it.
        """
        if forwards:
            return self.reduce_overhead_ps
        return self.reduce_overhead_ps + _move_ps(num_bytes, num_links, self.reduce_bandwidth)

    def copy_ps(self, num_bytes: int, num_links: int = 1) -> int:
        """Copying `num_bytes` of the chip's own into its result, in simulated picoseconds."""
        return _move_ps(num_bytes, num_links, self.copy_bandwidth)

    def hides_copy(self, bytes_per_link: int) -> bool:
        """Do so many bytes for one link bring several workers, of which some copy, some send?"""
        threshold = self.copy_hidden_above.value
        return threshold > 0 and bytes_per_link > threshold


def _move_ps(num_bytes: int, num_links: int, bandwidth: Constant) -> int:
    return num_bytes * PS_PER_S // (round(float(bandwidth.value) * 1e9) * num_links)


@cache
def load_costs(arch: str = "blackhole") -> CollectiveCosts:
    """The constants of an architecture, from data/costs.toml."""
    text = resources.files(__package__).joinpath("data/costs.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    if arch not in tables:
        raise ValueError(f"arch (={arch!r}) must be one of {', '.join(tables)}")
    return CollectiveCosts(**{name: Constant(**entry) for name, entry in tables[arch].items()})


def costs_of(box: Box) -> CollectiveCosts:
    """The constants for the chips of a box."""
    return load_costs(load_product(box.product).arch)
