"""What each product's chip is: cores, clock, memory. Numbers and sources: data/products.toml."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from .errors import InvalidArgument, UnknownProduct, nearest_name

Kind = Literal["documented", "measured", "inferred"]
KINDS = ("documented", "measured", "inferred")


@dataclass(frozen=True, slots=True)
class Constant:
    """A number about hardware, and where it is from."""

    value: int | float
    unit: str
    kind: Kind
    source: str

    def __post_init__(self) -> None:
        if isinstance(self.value, bool) or not isinstance(self.value, (int, float)):
            raise InvalidArgument(f"a constant's value (={self.value!r}) must be a number")
        if self.kind not in KINDS:
            raise InvalidArgument(
                f"a constant's kind (={self.kind!r}) must be one of {', '.join(KINDS)}"
            )
        for name, text in (("unit", self.unit), ("source", self.source)):
            if not isinstance(text, str) or not text.strip():
                raise InvalidArgument(f"a constant's {name} must say something: {self!r}")


@dataclass(frozen=True, slots=True)
class ChipSpec:
    """One chip of a product. `constants` holds each number again, with unit, kind and source."""

    name: str
    title: str
    arch: str
    grid: tuple[int, int]  # worker cores, (columns, rows)
    clock_hz: int
    dram_banks: int
    dram_bank_bytes: int
    dram_reserved_bytes: int  # of each bank, from its bottom
    dram_alignment: int  # of pages in DRAM, and of every buffer
    dram_bandwidth_bytes_per_s: int
    l1_bytes: int  # of one core
    l1_reserved_bytes: int  # of each core, from its bottom: firmware and kernels
    l1_alignment: int  # of pages in L1
    num_eth_cores: int  # usable
    constants: Mapping[str, Constant]

    def but(self, changes: Mapping[str, int]) -> "ChipSpec":
        """Such a chip with other values of some of its `constants`, by name."""
        changed = {name: replace(self.constants[name], value=changes[name]) for name in changes}
        return _with_constants(self.name, self.title, self.arch, {**self.constants, **changed})

    @property
    def num_cores(self) -> int:
        """Worker cores: those that run ops (dispatch cores are not among them)."""
        return self.grid[0] * self.grid[1]

    @property
    def dram_capacity_bytes(self) -> int:
        """DRAM that tensors can use."""
        return self.dram_banks * (self.dram_bank_bytes - self.dram_reserved_bytes)


def read_constants(table: Mapping[str, Any], where: str) -> dict[str, Constant]:
    """Constants of a TOML table of {value, unit, kind, source} tables.

    Raises:
        InvalidArgument: one lacks a field or has one too many; `where` and its name are named.
    """
    found: dict[str, Constant] = {}
    for name, fields in table.items():
        if not isinstance(fields, dict) or set(fields) != {"value", "unit", "kind", "source"}:
            raise InvalidArgument(
                f"{where}: {name} needs value, unit, kind and source, and has {fields!r}"
            )
        found[name] = Constant(**fields)
    return found


@cache
def products() -> Mapping[str, ChipSpec]:
    """Every product known, by name."""
    tables = tomllib.loads((files(__package__) / "data" / "products.toml").read_text())
    common = {arch: read_constants(table, f"arch.{arch}") for arch, table in tables["arch"].items()}
    return {name: _spec(name, table, common) for name, table in tables["product"].items()}


def load_product(name: str) -> ChipSpec:
    """The chip of a product, by name ("p300c") or alias ("p300"), in any case, "-" or "_".

    Raises:
        UnknownProduct: no product has that name; the nearest one is named.
    """
    wanted = name.lower().replace("-", "_")
    wanted = _aliases().get(wanted, wanted)
    known = products()
    if wanted not in known:
        raise UnknownProduct(name, nearest_name(wanted, [*known, *_aliases()]), list(known))
    return known[wanted]


@cache
def _aliases() -> Mapping[str, str]:
    tables = tomllib.loads((files(__package__) / "data" / "products.toml").read_text())
    return {alias: name for name, table in tables["product"].items() for alias in table["aliases"]}


def _spec(
    name: str, table: Mapping[str, Any], common: Mapping[str, dict[str, Constant]]
) -> ChipSpec:
    own = {key: value for key, value in table.items() if key not in ("title", "arch", "aliases")}
    constants = {**common[table["arch"]], **read_constants(own, f"product.{name}")}
    return _with_constants(name, table["title"], table["arch"], constants)


def _with_constants(
    name: str, title: str, arch: str, constants: Mapping[str, Constant]
) -> ChipSpec:
    value = {key: int(constant.value) for key, constant in constants.items()}
    return ChipSpec(
        name=name,
        title=title,
        arch=arch,
        grid=(value["grid_columns"], value["grid_rows"]),
        clock_hz=value["clock_hz"],
        dram_banks=value["dram_banks"],
        dram_bank_bytes=value["dram_bank_bytes"],
        dram_reserved_bytes=value["dram_reserved_bytes"],
        dram_alignment=value["dram_alignment"],
        dram_bandwidth_bytes_per_s=value["dram_bandwidth_bytes_per_s"],
        l1_bytes=value["l1_bytes"],
        l1_reserved_bytes=value["l1_reserved_bytes"],
        l1_alignment=value["l1_alignment"],
        num_eth_cores=value["num_eth_cores"],
        constants=constants,
    )
