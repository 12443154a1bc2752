"""The Ray that a mesh runs on: one that we start and end, or one that is there already."""

import logging
import os
import signal
import socket
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Any

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # else `uv run` starts each worker

import ray

from .errors import LaunchError
from .session_folder import SessionFolder, sweep_dead_sessions

OBJECT_STORE_BYTES = 1 << 30
"""Only arrays on their way to the chips pass through Ray's object store."""
CONNECT_TIMEOUT_S = 5.0
"""Until a cluster's port answers. Ray itself would try for more than two minutes."""
EXIT_ON_SIGTERM = 128 + signal.SIGTERM
START_ATTEMPTS = 2
"""On a busy machine a new Ray now and then does not come up within its own limit of 30 s."""


_ours: "RaySession | None" = None
"""The Ray of this process, as far as it is ours: Ray itself is one a process."""


@dataclass(slots=True)
class RaySession:
    """A connection to Ray, and what of it is ours to end when its last mesh closes."""

    is_ours: bool
    folder: SessionFolder | None = None
    sigterm: "SigtermExit | None" = None
    num_meshes: int = 1

    def close(self) -> None:
        """A mesh is done with it: the last one ends the Ray or the connection that we made."""
        self.num_meshes -= 1
        if self.num_meshes > 0:
            return
        is_ours, self.is_ours = self.is_ours, False
        try:
            if is_ours:
                ray.shutdown()
        finally:
            if self.folder is not None:
                self.folder.remove()
            if self.sigterm is not None:
                self.sigterm.restore()
            self.folder = self.sigterm = None

    def abandon(self) -> None:
        """The start failed or was interrupted: end what it has started, which Ray does not."""
        if self.folder is not None:
            self.folder.end_processes()
        self.close()


class SigtermExit:
    """While a local Ray runs, SIGTERM ends this process as `sys.exit` does: it closes the mesh.

    Ray's own handler, which ray.init puts in, would end the raylet under our feet. A handler that
    the user put in before the mesh was opened is put back instead.
    """

    def __init__(self) -> None:
        self._before = signal.getsignal(signal.SIGTERM)

    def install(self) -> None:
        """Take SIGTERM over from Ray."""
        self._set(_exit if self._before is signal.SIG_DFL else self._before)

    def restore(self) -> None:
        """Put back what was there before."""
        self._set(self._before)

    def _set(self, handler: Any) -> None:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and handler is not None:  # None: a handler that is not Python's
            signal.signal(signal.SIGTERM, handler)


def open_session(box: str, address: str | None, num_chips: int) -> RaySession:
    """Connect to the Ray at `address`, else use the one in this process, else start one.

    Args:
        address: "auto" or "host:port"; None uses the Ray that this process has initialised
            already, or starts a local one that ends with the mesh.
    Raises:
        LaunchError: there is no cluster at `address`, or no local Ray starts.
    """
    global _ours
    if ray.is_initialized():
        _check_address(box, address)
        if _ours is None or not _ours.is_ours:
            return RaySession(is_ours=False)
        _ours.num_meshes += 1
        return _ours
    _ours = _start(box, num_chips) if address is None else _connect(box, address)
    return _ours


def _start(box: str, num_chips: int) -> RaySession:
    """A local Ray, in a folder that goes with it.

    Raises:
        LaunchError: no Ray starts on this machine.
    """
    sweep_dead_sessions()
    for attempt in range(START_ATTEMPTS):
        session = RaySession(is_ours=True, folder=SessionFolder(), sigterm=SigtermExit())
        try:
            _start_ray(session, num_chips)
            return session
        except Exception as error:  # Ray raises plain ones
            session.abandon()
            if attempt == START_ATTEMPTS - 1:
                raise LaunchError(
                    box,
                    f"no Ray starts on this machine ({type(error).__name__}: {error}), in "
                    f"{START_ATTEMPTS} attempts; is it out of memory, or very busy?",
                ) from error
        except BaseException:
            session.abandon()
            raise
    raise AssertionError("unreachable")


def _check_address(box: str, address: str | None) -> None:
    """Raise LaunchError when this process is connected to another cluster than `address`."""
    connected = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", connected):
        raise LaunchError(
            box,
            f"this process is connected to the Ray at {connected} already, not to {address}; "
            "call ray.shutdown() first, or leave the address out",
        )


def _start_ray(session: RaySession, num_chips: int) -> None:
    assert session.folder is not None and session.sigterm is not None
    ray.init(
        address="local",
        num_cpus=max(os.cpu_count() or 1, min(num_chips, 8)),
        include_dashboard=False,
        logging_level=logging.ERROR,
        object_store_memory=OBJECT_STORE_BYTES,
        _temp_dir=str(session.folder.path),
        # Ray warns when it has started four times as many workers as this.
        _system_config={"worker_maximum_startup_concurrency": max(4, num_chips)},
    )
    session.sigterm.install()


def _connect(box: str, address: str) -> RaySession:
    """Join a running cluster.

    Raises:
        LaunchError: nothing answers there; says what to do.
    """
    try:
        _check_port(address)
        ray.init(address=address, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise LaunchError(
            box,
            f"no Ray cluster answers at {address!r} ({str(error).splitlines()[0]}); start one with "
            "`ray start --head`, or leave the address out to start a local Ray",
        ) from error
    return RaySession(is_ours=True)


def _check_port(address: str) -> None:
    """Raise OSError when nothing listens at a "host:port"; other spellings are left to Ray."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_TIMEOUT_S).close()


def _exit(number: int, frame: FrameType | None) -> None:
    raise SystemExit(EXIT_ON_SIGTERM)
