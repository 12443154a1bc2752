"""What can go wrong on the way of a model to this machine."""

from collections.abc import Sequence
from pathlib import Path

from ..chip.errors import MeshtwinError
from ..models.errors import nearest


class DeployError(MeshtwinError):
    """Something around the mesh failed: a download, a cache, a cluster."""


class UnknownModel(DeployError):
    """The name is none of the catalogue's, no folder and no name of the Hugging Face hub."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, tuple(known))
        self.name, self.known = name, tuple(known)

    def __str__(self) -> str:
        return (
            f"no model {self.name!r}; {nearest(self.name, self.known)}; "
            "a folder (./name) or a name of the Hugging Face hub (org/name) will do too"
        )


class DownloadFailed(DeployError):
    """The source could not be reached, or refused."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, why)
        self.source, self.why = source, why

    def __str__(self) -> str:
        return f"{self.source} could not be downloaded: {self.why}"


class ChecksumMismatch(DeployError):
    """What came is not the file that the catalogue knows; it was thrown away."""

    def __init__(self, name: str, expected: str, found: str) -> None:
        super().__init__(name, expected, found)
        self.name, self.expected, self.found = name, expected, found

    def __str__(self) -> str:
        return f"{self.name}: expected sha256 {self.expected}, found {self.found}; pull again"


class PullBusy(DeployError):
    """Another process has been pulling the same model for too long."""

    def __init__(self, lock: str | Path, waited_s: float) -> None:
        super().__init__(lock, waited_s)
        self.lock, self.waited_s = lock, waited_s

    def __str__(self) -> str:
        return f"another process still holds {self.lock} after {self.waited_s:.0f} s"


class CacheRefused(DeployError):
    """The cache folder cannot be written: rights, or no space left."""

    def __init__(self, folder: str | Path, why: str) -> None:
        super().__init__(folder, why)
        self.folder, self.why = folder, why

    def __str__(self) -> str:
        return f"{self.folder}: {self.why}; set MESHTWIN_CACHE to a folder with room"


class CorruptGguf(DeployError):
    """The file is no whole GGUF, or lacks something that a llama model needs."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


class UnsupportedGguf(DeployError):
    """The GGUF is sound, but holds an architecture, tokenizer or tensor not converted here."""

    def __init__(self, path: str | Path, what: str, supported: Sequence[str]) -> None:
        super().__init__(path, what, tuple(supported))
        self.path, self.what, self.supported = path, what, tuple(supported)

    def __str__(self) -> str:
        return f"{self.path}: {self.what} is not converted; known: {', '.join(self.supported)}"


class NoMeshRuns(DeployError):
    """No process of this user on this host holds a chip's memory, or none that was asked for."""

    def __init__(self, host: str, pid: int | None) -> None:
        super().__init__(host, pid)
        self.host, self.pid = host, pid

    def __str__(self) -> str:
        which = "" if self.pid is None else f" that process {self.pid} opened or is part of"
        return (
            f"no mesh runs on {self.host}{which}; a mesh is seen from the host of its chips, by "
            'the user who opened it, and not with transport="zeromq"'
        )


class SweepFileError(DeployError):
    """A sweep's file is wrong; says at which line, and what would be right."""

    def __init__(self, path: str | Path, line: int, what: str) -> None:
        super().__init__(path, line, what)
        self.path, self.line, self.what = path, line, what

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}"


class ResultsBusy(DeployError):
    """Another process is writing the same results."""

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self.folder = folder

    def __str__(self) -> str:
        return f"another process writes to {self.folder}; wait for it, or give another --out"


class MissingExtra(DeployError):
    """What was asked for needs a package that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(what, package, extra)
        self.what, self.package, self.extra = what, package, extra

    def __str__(self) -> str:
        return (
            f"{self.what} needs {self.package}, which is not installed: "
            f"pip install 'meshtwin[{self.extra}]'"
        )


class BadRow(MeshtwinError):
    """A row of a table of measurements cannot be used; mend it, or take it out."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file, self.line, self.reason = file, line, reason

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


class UnreadableFile(DeployError):
    """A file that was given cannot be read as text: it is not there, a folder, or not UTF-8."""

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(path, what)
        self.path, self.what = path, what

    def __str__(self) -> str:
        return f"{str(self.path)!r} cannot be read: {self.what}"


class MissingSolver(MeshtwinError):
    """A fit needs SciPy, which is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(package)
        self.package = package

    def __str__(self) -> str:
        return (
            f"fitting needs {self.package}, which is not installed: pip install meshtwin[calibrate]"
        )
