"""The Ray under a mesh, with Ray itself played by a stand-in: no process is started here."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meshtwin.mesh import session, session_folder
from meshtwin.mesh.errors import LaunchError
from meshtwin.mesh.session import open_session
from meshtwin.mesh.session_folder import SessionFolder, sweep_dead_sessions


class FakeRay:
    """Starts after a number of failures, and notes the folders that it was given."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.folders: list[Path] = []
        self.is_up = False

    def is_initialized(self) -> bool:
        return self.is_up

    def init(self, *, _temp_dir: str, **options: Any) -> None:
        self.folders.append(Path(_temp_dir))
        if self.failures:
            raise self.failures.pop(0)
        self.is_up = True

    def shutdown(self) -> None:
        self.is_up = False


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder in which only this test has sessions."""
    monkeypatch.setattr(session_folder, "TEMP_ROOT", str(tmp_path))
    monkeypatch.setattr(session, "_ours", None)
    return tmp_path


def test_a_ray_that_does_not_come_up_is_started_once_more(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRay(Exception("timed out during startup"))
    monkeypatch.setattr(session, "ray", fake)
    opened = open_session("p150", None, 1)
    assert len(fake.folders) == 2
    assert list(root.iterdir()) == [fake.folders[1]]
    opened.close()
    assert not fake.is_up
    assert not list(root.iterdir())


def test_a_ray_that_never_comes_up_is_a_launch_error_and_leaves_no_folder(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ray", FakeRay(OSError("no"), RuntimeError("no memory")))
    with pytest.raises(LaunchError, match=r"p150: no Ray starts .*RuntimeError: no memory.* 2 att"):
        open_session("p150", None, 1)
    assert not list(root.iterdir())


def test_ctrl_c_in_the_start_is_no_reason_to_start_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeRay(KeyboardInterrupt())
    monkeypatch.setattr(session, "ray", fake)
    with pytest.raises(KeyboardInterrupt):
        open_session("p150", None, 1)
    assert len(fake.folders) == 1
    assert not list(root.iterdir())


def test_the_sweep_takes_folders_of_the_dead_and_leaves_those_of_the_living(root: Path) -> None:
    living = SessionFolder()
    dead = SessionFolder()
    os.close(dead._lock)  # as the end of its process would
    (dead.path / "session").mkdir()
    other = root / "something-else"
    other.mkdir()
    sweep_dead_sessions()
    assert set(root.iterdir()) == {living.path, other}
    living.remove()
    assert list(root.iterdir()) == [other]


def test_what_a_failed_start_has_started_is_ended(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    children = []

    def start_half(self: FakeRay, *, _temp_dir: str, **options: Any) -> None:
        sleep = [sys.executable, "-c", "import time; time.sleep(600)", _temp_dir]
        children.append(subprocess.Popen(sleep))
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeRay, "init", start_half)
    monkeypatch.setattr(session, "ray", FakeRay())
    with pytest.raises(KeyboardInterrupt):
        open_session("p150", None, 1)
    assert children[0].wait(timeout=5.0) == -signal.SIGKILL


KILLED = """
import os, signal
from meshtwin.mesh.session_folder import temporary_folder
with temporary_folder() as folder:
    (folder / "tape").write_bytes(b"x" * 1000)
    print(folder, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_temporary_folder_goes_with_its_block_and_after_a_kill_with_the_next_sweep() -> None:
    with session_folder.temporary_folder() as mine:
        out = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True).stdout
        left = Path(out.strip())
        assert left.exists() and mine.exists()
        sweep_dead_sessions()
        assert mine.exists() and not left.exists()
    assert not mine.exists()
