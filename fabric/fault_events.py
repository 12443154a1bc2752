"""What can go wrong with links and chips, and when: times are simulated picoseconds.

A link is a pair of neighbouring chips and stands for both of its directions.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeAlias

from ..chip.errors import InvalidArgument, did_you_mean, nearest_name
from ..chip.units import PS_PER_US
from .fate import Link


def _check_link(link: Link) -> None:
    if len(link) != 2 or link[0] == link[1] or min(link) < 0:
        raise InvalidArgument(f"link (={link}) must be two different chips")


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise InvalidArgument(f"{name} (={value}) must be >= {least}")


@dataclass(frozen=True, slots=True)
class LinkCut:
    """The link is down from `at_ps` on."""

    link: Link
    at_ps: int = 0

    def __post_init__(self) -> None:
        _check_link(self.link)
        _check_at_least("at_ps", self.at_ps, 0)


@dataclass(frozen=True, slots=True)
class LinkSlow:
    """A transfer that starts in [from_ps, to_ps) takes `factor` times as long."""

    link: Link
    factor: float
    from_ps: int = 0
    to_ps: int | None = None

    def __post_init__(self) -> None:
        _check_link(self.link)
        _check_at_least("from_ps", self.from_ps, 0)
        if not 0 < self.factor < float("inf"):
            raise InvalidArgument(f"factor (={self.factor}) must be > 0")
        if self.to_ps is not None:
            _check_at_least("to_ps", self.to_ps, self.from_ps)


@dataclass(frozen=True, slots=True)
class LinkFlaky:
    """Each attempt to bring a packet across fails with these probabilities."""

    link: Link
    drop: float = 0.0
    corrupt: float = 0.0

    def __post_init__(self) -> None:
        _check_link(self.link)
        for name in ("drop", "corrupt"):
            if not 0 <= getattr(self, name) <= 1:
                raise InvalidArgument(f"{name} (={getattr(self, name)}) must be in 0..1")
        if self.drop + self.corrupt > 1:
            total = self.drop + self.corrupt
            raise InvalidArgument(f"drop + corrupt (={total:g}) must be in 0..1")


@dataclass(frozen=True, slots=True)
class LinkRetrain:
    """The link cannot be used in [at_ps, at_ps + for_ps); what needs it waits."""

    link: Link
    at_ps: int
    for_ps: int

    def __post_init__(self) -> None:
        _check_link(self.link)
        _check_at_least("at_ps", self.at_ps, 0)
        _check_at_least("for_ps", self.for_ps, 1)


@dataclass(frozen=True, slots=True)
class ChipStall:
    """The chip starts nothing in [at_ps, at_ps + for_ps), or ever after when `for_ps` is None."""

    chip: int
    at_ps: int
    for_ps: int | None = None

    def __post_init__(self) -> None:
        _check_at_least("chip", self.chip, 0)
        _check_at_least("at_ps", self.at_ps, 0)
        if self.for_ps is not None:
            _check_at_least("for_ps", self.for_ps, 1)


@dataclass(frozen=True, slots=True)
class ChipKill:
    """The chip is gone from `at_ps` on."""

    chip: int
    at_ps: int

    def __post_init__(self) -> None:
        _check_at_least("chip", self.chip, 0)
        _check_at_least("at_ps", self.at_ps, 0)


LinkEvent: TypeAlias = LinkCut | LinkSlow | LinkFlaky | LinkRetrain
ChipEvent: TypeAlias = ChipStall | ChipKill
Event: TypeAlias = LinkEvent | ChipEvent
KINDS: dict[str, type[Event]] = {
    "link_cut": LinkCut,
    "link_slow": LinkSlow,
    "link_flaky": LinkFlaky,
    "link_retrain": LinkRetrain,
    "chip_stall": ChipStall,
    "chip_kill": ChipKill,
}
"""The kinds of event by their names in files."""


def check_keys(mapping: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    """See that a mapping has no key but these.

    Raises:
        InvalidArgument: it has one; the nearest is named.
    """
    for key in mapping:
        if key not in known:
            raise InvalidArgument(
                f"{where} has no {key!r}{did_you_mean(nearest_name(key, known))} "
                f"Known: {', '.join(known)}"
            )


def parse_event(entry: Mapping[str, Any]) -> Event:
    """An event from plain values: its kind, and its fields; times end in _ps or _us.

    Raises:
        InvalidArgument: an unknown kind or field, a missing or a bad one.
    """
    name = entry.get("kind", "")
    if name not in KINDS:
        raise InvalidArgument(
            f"kind (={name!r}) must be one of {', '.join(KINDS)}"
            f"{did_you_mean(nearest_name(str(name), tuple(KINDS)))}"
        )
    values = {
        f"{key[:-3]}_ps" if key.endswith("_us") else key: (
            round(value * PS_PER_US) if key.endswith("_us") else value
        )
        for key, value in entry.items()
        if key != "kind"
    }
    if "link" in values:
        values["link"] = tuple(values["link"])
    kind = KINDS[name]
    if kind is ChipStall:
        values.setdefault("for_ps", None)
    check_keys(values, tuple(field.name for field in fields(kind)), name)
    for field in fields(kind):
        if field.default is MISSING and field.name not in values:
            raise InvalidArgument(f"{name} needs {field.name}")
    return kind(**values)
