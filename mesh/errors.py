"""What can go wrong with a mesh."""

from ..chip.errors import MeshtwinError, did_you_mean


class MeshError(MeshtwinError):
    """A mesh could not be opened or used."""


class MeshClosed(MeshError):
    """The mesh was used after it was closed, or after a chip of it died."""

    def __init__(self, box: str, why: str) -> None:
        super().__init__(box, why)
        self.box, self.why = box, why

    def __str__(self) -> str:
        return f"the mesh {self.box} is closed ({self.why}): open it again with open_mesh"


class ChipDown(MeshError):
    """The process of a chip died. The mesh closes; open it again."""

    def __init__(self, chip: int, reason: str) -> None:
        super().__init__(chip, reason)
        self.chip, self.reason = chip, reason

    def __str__(self) -> str:
        return f"chip {self.chip} is down: {self.reason}"


class LaunchError(MeshError):
    """The chips of a mesh could not be placed or started on the Ray cluster."""

    def __init__(self, box: str, reason: str) -> None:
        super().__init__(box, reason)
        self.box, self.reason = box, reason

    def __str__(self) -> str:
        return f"cannot open {self.box}: {self.reason}"


class ProgramError(MeshError):
    """A program raised something on a chip that cannot travel home as it is."""

    def __init__(self, chip: int, op: str, kind: str, text: str) -> None:
        super().__init__(chip, op, kind, text)
        self.chip, self.op, self.kind, self.text = chip, op, kind, text

    def __str__(self) -> str:
        return f"chip {self.chip}: {self.kind} after op {self.op}: {self.text}"


class UnreceivedTensors(UserWarning):
    """A program ended on all chips, and tensors that were sent in it had not been received."""

    def __init__(self, unreceived: tuple[tuple[int, int, str], ...]) -> None:
        super().__init__(unreceived)
        self.unreceived = unreceived

    def __str__(self) -> str:
        lines = [f"chip {src} sent chip {dst} {what}" for src, dst, what in self.unreceived]
        return "never received, and dropped: " + "; ".join(lines)


class PlacementError(MeshError, ValueError):
    """An array and a placement do not fit, or chips do not hold what a placement promises."""


class ResultMismatch(MeshError):
    """Chips returned results of different structure from one program."""

    def __init__(self, first: int, first_result: str, other: int, other_result: str) -> None:
        super().__init__(first, first_result, other, other_result)
        self.first, self.other = first, other
        self.first_result, self.other_result = first_result, other_result

    def __str__(self) -> str:
        return (
            f"chip {self.first} returned {self.first_result}, but chip {self.other} returned "
            f"{self.other_result}: a program must return the same structure on every chip"
        )


class ExplorationFailure(MeshError):
    """Under one schedule a program hung, raised, or came to another result. Its cause is chained.

    Fields: the seed; the chip where it showed (None: the check of all results); `what` went wrong;
    `culprit`, the first receive that took a message from another chip than in the good run, or a
    word on why none is named; `replay`, how to see it again; `events`, the last ones before it.
    """

    def __init__(
        self,
        seed: int,
        chip: int | None,
        what: str,
        culprit: str,
        replay: str,
        events: tuple[str, ...],
    ) -> None:
        super().__init__(seed, chip, what, culprit, replay, events)
        self.seed, self.chip, self.what = seed, chip, what
        self.culprit, self.replay, self.events = culprit, replay, events

    def __str__(self) -> str:
        place = "" if self.chip is None else f", chip {self.chip}"
        lines = [f"seed {self.seed}{place}: {self.what}"]
        lines += [f"culprit: {self.culprit}"] if self.culprit else []
        lines += [f"replay: {self.replay}", "the last events before it:"]
        return "\n  ".join([*lines, *self.events])


class UnknownSetting(MeshError, ValueError):
    """No constant of that name can be changed."""

    def __init__(self, name: str, nearest: str) -> None:
        super().__init__(name, nearest)
        self.name, self.nearest = name, nearest

    def __str__(self) -> str:
        hint = did_you_mean(self.nearest)
        return f"no constant {self.name!r}{hint} `meshtwin constants` lists them."


class UnknownPlace(UnknownSetting):
    """A slow link or chip is not of the box; `why` says which places are."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, "")
        self.args, self.why = (name, why), why

    def __str__(self) -> str:
        return f"no {self.name!r}: {self.why}"


class WrongSetting(MeshError, ValueError):
    """A constant cannot have that value; `legal` says which it can."""

    def __init__(self, name: str, value: str, legal: str) -> None:
        super().__init__(name, value, legal)
        self.name, self.value, self.legal = name, value, legal

    def __str__(self) -> str:
        return f"{self.name} (={self.value}) must be {self.legal}"
