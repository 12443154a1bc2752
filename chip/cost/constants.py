"""The constants of the cost model: of all chips, of an architecture, of a generation of software.

A stack is a generation of the software that drives the chip. What it adds to an op (a start, host
time, reshards, the share of the hardware's rates that its programs reach) is a property of all its
ops; nothing is a constant of a model or of a shape.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from ..errors import InvalidArgument, did_you_mean, nearest_name
from ..spec import Constant, read_constants

DEFAULT_STACK = "ttnn"
MODEL_STACK = "tt_transformers"
"""The stack that models are planned and run for, unless the user names another."""
ANY = "any"  # architecture


@cache
def _tables(name: str) -> Mapping[str, Any]:
    data = files("meshtwin.chip") / "data"
    found: Mapping[str, Any] = tomllib.loads((data / name).read_text())
    return found


def stacks() -> tuple[str, ...]:
    """The generations of software known, the default first."""
    return tuple(_tables("stacks.toml"))


def check_stack(name: str) -> str:
    """The name, when it is one of `stacks()`.

    Raises:
        InvalidArgument: it is not; the nearest one is named.
    """
    if name not in stacks():
        hint = did_you_mean(nearest_name(name, list(stacks())))
        raise InvalidArgument(f"unknown stack {name!r}{hint} Known: {', '.join(stacks())}.")
    return name


def constants(arch: str = "blackhole", stack: str = DEFAULT_STACK) -> Mapping[str, Constant]:
    """The constants in force on chips of an architecture under a stack, by name.

    What is said of the stack comes before what is said of the chip, and what is said of one
    architecture before what is said of any.

    Raises:
        InvalidArgument: no such stack.
    """
    return _constants(arch, check_stack(stack))


@cache
def _constants(arch: str, stack: str) -> Mapping[str, Constant]:
    found: dict[str, Constant] = {}
    for name, tables in (
        ("costs.toml", _tables("costs.toml")),
        (stack, _tables("stacks.toml")[stack]),
    ):
        for part in (ANY, arch):
            found |= read_constants(tables.get(part, {}), f"{name}: {part}")
    return found


def changed(known: Mapping[str, Constant], changes: Mapping[str, float]) -> Mapping[str, Constant]:
    """The constants with some values replaced.

    Raises:
        InvalidArgument: there is no such constant (the nearest is named), or a value is negative.
    """
    for name, value in changes.items():
        if name not in known:
            hint = did_you_mean(nearest_name(name, list(known)))
            raise InvalidArgument(f"the cost model has no constant {name!r}{hint}")
        if not value >= 0:
            raise InvalidArgument(f"{name} (={value}) must be 0 or more")
    new = {name: replace(known[name], value=value) for name, value in changes.items()}
    return {**known, **new}
