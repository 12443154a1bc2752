"""The folder where pulled models live, and how one is put there whole or not at all.

A model is made in a hidden folder beside its place and renamed into it, so what stands there is
whole, whenever a pull is killed. A lock file a model keeps a second pull waiting instead of
downloading the same thing; whoever holds the lock sweeps away what a killed pull left. Where
the file system has no locks, two pulls do the work twice and the first rename wins.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import CacheRefused, PullBusy
from .progress import Report

LOCK_WAIT_S = 3600.0
POLL_S = 0.2


def cache_folder() -> Path:
    """$MESHTWIN_CACHE, or $XDG_CACHE_HOME/meshtwin, or ~/.cache/meshtwin."""
    if os.environ.get("MESHTWIN_CACHE"):
        return Path(os.environ["MESHTWIN_CACHE"]).expanduser().absolute()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "meshtwin"


@contextlib.contextmanager
def locked(place: Path, report: Report, wait_s: float = LOCK_WAIT_S) -> Iterator[bool]:
    """Hold the lock of a place in the cache; yields False where there are no locks.

    Raises: PullBusy when another process held it for `wait_s`.
    """
    lock = place.parent / f".{place.name}.lock"
    with lock.open("w") as file:
        start_s = time.monotonic()
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    yield False
                    return
            if time.monotonic() - start_s > wait_s:
                raise PullBusy(lock, wait_s)
            report("waiting for another pull", 0, 0)
            time.sleep(POLL_S)
        yield True  # the lock goes with the file, also when the process is killed


@contextlib.contextmanager
def workshop(place: Path, may_sweep: bool) -> Iterator[Path]:
    """A fresh hidden folder beside `place`, gone afterwards; sweeps those of killed pulls."""
    if may_sweep:
        for left in place.parent.glob(f".{place.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".partial", dir=place.parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def move_into_place(made: Path, place: Path, attic: Path) -> None:
    """Rename a whole folder to its place; what stood there (not whole) goes to the attic first."""
    if place.exists():
        place.rename(attic)
    try:
        made.rename(place)
    except OSError as error:
        # Without locks another pull may have come first: its folder is as good.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Tell what kept us from writing the cache as CacheRefused."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT):
            raise CacheRefused(folder, error.strerror or str(error)) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST):
            raise CacheRefused(folder, "is no folder") from error
        raise
