"""The Ray that a mesh runs on: one that we start and end, or one that is there already."""

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else `uv run` starts each worker

import ray

from .errors import LaunchError

TEMP_PREFIX = "meshtwin-ray-"
OBJECT_STORE_BYTES = 1 << 30
"""Only arrays on their way to the chips pass through Ray's object store."""


@dataclass(slots=True)
class RaySession:
    """A connection to Ray, and what of it is ours to end."""

    is_ours: bool
    temp_dir: Path | None = None

    def close(self) -> None:
        """End the Ray that we started, or the connection that we made. Safe to call twice."""
        if self.is_ours and ray.is_initialized():
            ray.shutdown()
        if self.temp_dir is not None:
            shutil.rmtree(self.temp_dir, ignore_errors=True)
        self.is_ours, self.temp_dir = False, None


def open_session(box: str, address: str | None, num_chips: int) -> RaySession:
    """Connect to the Ray at `address`, else use the one in this process, else start one.

    Args:
        address: "auto", "host:port" or "ray-session"; None uses the Ray that this process has
            initialised already, or starts a local one that ends with the mesh.
    Raises:
        LaunchError: there is no cluster at `address`.
    """
    if ray.is_initialized():
        return RaySession(is_ours=False)
    if address is not None:
        return _connect(box, address)
    _sweep_dead_sessions()
    temp_dir = Path(tempfile.mkdtemp(prefix=f"{TEMP_PREFIX}{os.getpid()}-", dir="/tmp"))
    ray.init(
        address="local",
        num_cpus=max(os.cpu_count() or 1, min(num_chips, 8)),
        include_dashboard=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(temp_dir),
    )
    return RaySession(is_ours=True, temp_dir=temp_dir)


def _connect(box: str, address: str) -> RaySession:
    try:
        ray.init(address=address, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise LaunchError(
            box,
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with "
            "`ray start --head`, or leave the address out to start a local Ray",
        ) from error
    return RaySession(is_ours=True)


def _sweep_dead_sessions() -> None:
    """Remove the folders of sessions whose process was killed before it could clean up."""
    for folder in Path("/tmp").glob(f"{TEMP_PREFIX}*-*"):
        pid = folder.name.removeprefix(TEMP_PREFIX).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)
