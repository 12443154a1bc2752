"""How a chip computes an op: fidelity, accumulator, approximations, rounding of the result."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from .dtype import DType
from .errors import InvalidArgument, did_you_mean, nearest_name

Rounding = Literal["nearest_even", "packer"]
Accumulate = Literal["float32", "bfloat16"]
Specials = Literal["ieee", "chip"]

_LONG_FRACTIONS = frozenset({"float32", "tf32", "float16"})  # more bits than two phases take
_CHOICES = {"rounding": Rounding, "accumulate": Accumulate, "specials": Specials}


class Fidelity(Enum):
    """How many bits of its operands the multiplier sees, as a number of phases (see fidelity.py).

    EXACT is no mode of the chip: whole operands, the reference. It takes the time of HiFi4.
    """

    LOFI = ("LoFi", 1)
    HIFI2 = ("HiFi2", 2)
    HIFI3 = ("HiFi3", 3)
    HIFI4 = ("HiFi4", 4)
    EXACT = ("exact", 4)

    def __init__(self, label: str, phases: int) -> None:
        self.label, self.phases = label, phases

    def __str__(self) -> str:
        return self.label

    @classmethod
    def parse(cls, name: "str | Fidelity") -> "Fidelity":
        """The fidelity of a name as ttnn writes it, "HiFi4", in any case.

        Raises:
            InvalidArgument: no fidelity has that name; the nearest one is named.
        """
        if isinstance(name, Fidelity):
            return name
        for fidelity in cls:
            if fidelity.label.lower() == name.lower():
                return fidelity
        known = [fidelity.label for fidelity in cls]
        hint = did_you_mean(nearest_name(name, known))
        raise InvalidArgument(f"unknown fidelity {name!r}{hint} Known: {', '.join(known)}.")


@dataclass(frozen=True, slots=True)
class ComputeConfig:
    """How an op computes: a parameter of it, so two configs are two plans.

    Which op takes which fields: docs/numerics.md.

    Attributes:
        fidelity: which bits of the operands are multiplied, and how many phases that takes.
        approx: the coarser functions of the vector unit, where there are such.
        fp32_dest_acc: the accumulator is float32 (else bfloat16, which `accumulate` models, and in
            which functions of the vector unit are held). It is also the format of the partial sums
            of `k_block`.
        packer_l1_acc: partial sums of blocks of K are added in L1, not in the accumulator.
        rounding: of the result: the host's, or the packer's (ties away from zero; -0 and subnormal
            numbers become 0, NaN inf).
        accumulate: "bfloat16": the sum is rounded to nearest even after every 32 products.
        k_block: products summed before a partial sum is packed to L1; None: all of K.
        specials: "chip": subnormal operands are 0, exponent 255 is a number, and a sum too large is
            inf; "ieee": as float32 has it.
    Raises:
        InvalidArgument: a name is not one of those above, or k_block is no positive multiple of 32,
            or a float32 accumulator is to accumulate in bfloat16.
    """

    fidelity: Fidelity = Fidelity.HIFI4
    approx: bool = False
    fp32_dest_acc: bool = False
    packer_l1_acc: bool = False
    rounding: Rounding = "nearest_even"
    accumulate: Accumulate = "float32"
    k_block: int | None = None
    specials: Specials = "ieee"

    def __post_init__(self) -> None:
        object.__setattr__(self, "fidelity", Fidelity.parse(self.fidelity))
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                choices = " or ".join(map(repr, get_args(kind)))
                raise InvalidArgument(f"{name} (={getattr(self, name)!r}) must be {choices}")
        if self.k_block is not None and (self.k_block < 1 or self.k_block % 32):
            raise InvalidArgument(f"k_block (={self.k_block}) must be a positive multiple of 32")
        if self.fp32_dest_acc and self.accumulate == "bfloat16":
            raise InvalidArgument('accumulate="bfloat16" needs fp32_dest_acc=False')

    @property
    def is_one_sum(self) -> bool:
        """Whether a product is float32 sums over all of K, rounded once as the host rounds."""
        return (
            self.k_block is None
            and self.accumulate == "float32"
            and self.rounding == "nearest_even"
            and self.specials == "ieee"
        )

    def but(self, **changes: Any) -> "ComputeConfig":
        """This config with some fields changed: `config.but(fidelity="HiFi4")`.

        Raises:
            InvalidArgument: a field is unknown, or its value is not allowed.
        """
        for name in changes:
            if name not in self.__slots__:
                hint = did_you_mean(nearest_name(name, self.__slots__))
                raise InvalidArgument(f"a compute config has no {name!r}{hint}")
        return replace(self, **changes)

    @classmethod
    def default(cls, op: str, *dtypes: DType | str) -> "ComputeConfig":
        """What ttnn 0.81.1 chooses on Blackhole for an op of these input formats.

        Formats that were not recorded take the entry of the same first input (with float32, tf32
        or float16 among them: that of float32), else the first entry: the rule is inferred.

        Raises:
            InvalidArgument: nothing is known of the op; the nearest one is named.
        """
        return _default(op, tuple(str(dtype) for dtype in dtypes))


EXACT = ComputeConfig(Fidelity.EXACT, fp32_dest_acc=True)
"""The reference: whole operands, float32 sums."""


@cache
def _recorded() -> Mapping[str, list[tuple[tuple[str, ...], ComputeConfig]]]:
    """(input formats, config) by op, as recorded."""
    table = tomllib.loads((files(__package__) / "data" / "op_numerics.toml").read_text())
    found: dict[str, list[tuple[tuple[str, ...], ComputeConfig]]] = {}
    for entry in table["op"]:
        config = ComputeConfig(entry["fidelity"], entry["approx"], entry["fp32_dest_acc"])
        for name in entry["names"]:
            found.setdefault(name, []).append((tuple(entry["inputs"]), config))
    return found


@cache
def _default(op: str, dtypes: tuple[str, ...]) -> ComputeConfig:
    if op not in _recorded():
        hint = did_you_mean(nearest_name(op, list(_recorded())))
        raise InvalidArgument(f"no default numerics of op {op!r}{hint}")
    entries = _recorded()[op]
    for inputs, config in entries:
        if inputs == dtypes:
            return config
    for inputs, config in entries:
        if "float32" in inputs and not _LONG_FRACTIONS.isdisjoint(dtypes):
            return config
    for inputs, config in entries:
        if inputs[:1] == dtypes[:1]:
            return config
    return entries[0][1]
