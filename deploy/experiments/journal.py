"""The finished points of a sweep, on disk as soon as they are done: a line of JSON for each.

A chunk of points is written at once and synced. A sweep that is killed leaves at most one torn
line at the end, which the next one cuts off; what is whole is never computed again.
"""

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ResultsBusy
from .outcome import Outcome

FILE = "points.jsonl"


class Journal:
    """The journal of a folder of results, held by one process at a time.

    Attributes:
        finished: outcomes by key (see Stamp.key), of this sweep and of others before.
    Raises:
        ResultsBusy: another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / FILE).open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ResultsBusy(folder) from None
        self.finished: dict[str, Outcome] = {}
        self._file.seek(0)
        end = 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            key, outcome = _entry(line)
            self.finished[key] = outcome
        self._file.truncate(end)

    def append(self, outcomes: Sequence[tuple[str, Outcome]]) -> None:
        """Write finished points, with their keys; when this returns they are on disk."""
        lines = [_line(key, outcome) for key, outcome in outcomes]
        self._file.write("".join(lines).encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self.finished.update(outcomes)

    def close(self) -> None:
        """Let others have it."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _line(key: str, outcome: Outcome) -> str:
    fields: Mapping[str, Any] = {
        "key": key,
        "values": outcome.values,
        "result": outcome.result,
        "error": outcome.error,
        "wall_s": round(outcome.wall_s, 6),
    }
    return json.dumps(fields) + "\n"


def _entry(line: bytes) -> tuple[str, Outcome]:
    fields: dict[str, Any] = json.loads(line)
    key = fields.pop("key")
    return key, Outcome(**fields)
