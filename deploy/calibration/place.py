"""Where a free constant of the time model stands, and what a fit may make of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from ...chip.cost import DEFAULT_STACK, constants
from ...chip.spec import Constant

ANY = "any"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A constant of chip/data: [<arch>.<name>] of costs.toml, or [<stack>.<arch>.<name>] of
    stacks.toml. `arch` may be "any"; `stack` "" is costs.toml.
    """

    stack: str
    arch: str
    name: str

    @property
    def file(self) -> str:
        """Of chip/data."""
        return "stacks.toml" if self.stack else "costs.toml"

    @property
    def table(self) -> str:
        """Its table in that file."""
        return ".".join(filter(None, (self.stack, self.arch, self.name)))

    def bears_on(self, arch: str, stack: str) -> bool:
        """Is it in force on a chip of an architecture under a stack?"""
        return self.arch in (ANY, arch) and self.stack in ("", stack)

    @property
    def shipped(self) -> Constant:
        """What the data file says."""
        return constants(self.arch, self.stack or DEFAULT_STACK)[self.name]

    @property
    def unknown(self) -> float:
        """What would be taken if no row had been measured: a bare op's, where stacks have it."""
        return constants(self.arch, DEFAULT_STACK)[self.name].value


@dataclass(frozen=True, slots=True)
class Free:
    """A constant that a fit finds, within bounds that keep it physical."""

    place: Place
    least: float
    most: float


Values: TypeAlias = Mapping[Place, float]
"""Values in place of the shipped ones."""

SHIPPED: Values = MappingProxyType({})
"""No constant is changed."""
