"""The temporary folder of a Ray that we start: it names us, it goes with us, however we go."""

import fcntl
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TEMP_PREFIX = "meshtwin-ray-"
TEMP_ROOT = "/tmp"  # Ray's socket paths may have 107 bytes: other temporary folders are too deep
END_TIMEOUT_S = 5.0
"""For the processes of a Ray that did not come up."""


class SessionFolder:
    """A temporary folder, of a local Ray or ours. A lock on it, which dies with us: we live."""

    def __init__(self) -> None:
        while True:
            name = tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{os.getpid()}-", dir=TEMP_ROOT)
            self.path = Path(name)
            self._lock = os.open(self.path, os.O_RDONLY)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self.path.exists():
                break
            os.close(self._lock)  # another process has swept it before we had the lock

    def end_processes(self) -> None:
        """Kill all processes whose command line names this folder, and their children."""
        deadline = time.monotonic() + END_TIMEOUT_S
        while (pids := self._processes()) and time.monotonic() < deadline:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def _processes(self) -> set[int]:
        """Ray's agents have no command line left: they are found as the children of a raylet."""
        name, pids = os.fsencode(self.path), set()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has just ended, or is not ours to look at
                if name in (process / "cmdline").read_bytes():
                    pids.add(int(process.name))
                    for children in process.glob("task/*/children"):
                        pids |= {int(pid) for pid in children.read_text().split()}
        return pids

    def remove(self) -> None:
        """Remove the folder with all that Ray left in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for as long as the block lasts; if we are killed in it, until a mesh is opened."""
    folder = SessionFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep_dead_sessions() -> None:
    """Remove the folders of sessions whose process was killed before it could clean up."""
    for folder in Path(TEMP_ROOT).glob(f"{TEMP_PREFIX}*"):
        with suppress(OSError):  # another user's, or just removed by another process
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
