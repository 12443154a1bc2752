"""What can be wrong with a calibration: rows that cannot be read, a missing solver."""

from ...chip.errors import MeshtwinError


class BadRow(MeshtwinError):
    """A row of a table of measurements cannot be used; mend it, or take it out."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file, self.line, self.reason = file, line, reason

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


class MissingSolver(MeshtwinError):
    """A fit needs SciPy, which is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return (
            f"fitting needs {self.package}, which is not installed: pip install meshtwin[calibrate]"
        )
