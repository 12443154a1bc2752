"""What can go wrong with a mesh."""

from ..chip.errors import MeshtwinError


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
