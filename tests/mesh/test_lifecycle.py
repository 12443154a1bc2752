"""Whatever ends a mesh, nothing stays behind: no process, socket, shared memory or folder."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from meshtwin.mesh.session import TEMP_PREFIX, TEMP_ROOT, sweep_dead_sessions

pytestmark = [pytest.mark.ray, pytest.mark.slow]
LIMIT_S = 60.0
AGENTS_LIMIT_S = 180.0
"""Ray's two agents of a node try to reach a dead head for about a minute before they end."""

PROLOGUE = """
import os, signal, sys, time
import numpy as np
from meshtwin.mesh.device import open_mesh
from meshtwin.mesh.errors import ChipDown, MeshClosed

def forever(chip, x):
    while True:
        x = chip.all_reduce(chip.mul(x, x))

def fails(chip, x):
    if chip.rank == 1:
        raise KeyError("planted")
    return chip.all_reduce(x)
"""


class Driver:
    """A script in a process of its own, and everything that it starts."""

    def __init__(self, body: str) -> None:
        self.before = shared_memory()
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(body)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.family: set[psutil.Process] = set()

    def wait_for(self, word: str) -> str:
        """Read lines up to one that starts with `word`, then note all child processes."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(word):
                self.family |= set(psutil.Process(self.process.pid).children(recursive=True))
                return line.removeprefix(word).strip()
        raise AssertionError(f"no {word!r}: {self.process.stderr and self.process.stderr.read()}")

    def folders(self) -> list[Path]:
        """The temporary folders of the script's own Ray."""
        return list(Path(TEMP_ROOT).glob(f"{TEMP_PREFIX}{self.process.pid}-*"))

    def left_nothing(self, limit_s: float = LIMIT_S) -> None:
        """No process is left, and so no socket and no memory; no name in /dev/shm, no folder."""
        until(lambda: not self.living(), limit_s, self.living)
        assert shared_memory() <= self.before
        assert not self.folders()

    def living(self) -> list[psutil.Process]:
        """Its processes that still run (a zombie does not: it only waits to be counted)."""
        return [process for process in self.family if _runs(process)]

    def end(self) -> tuple[int, str, str]:
        """Exit code, the rest of stdout, and stderr."""
        out, err = self.process.communicate(timeout=LIMIT_S)
        return self.process.returncode, out, err

    def kill(self) -> None:
        """End what is left, after a failed test."""
        for process in [*self.family, psutil.Process()]:
            if process.pid != os.getpid():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.kill()
        self.process.communicate()


def shared_memory() -> set[str]:
    """Names of shared memory: there should be none of ours, ever."""
    return {path.name for path in Path("/dev/shm").iterdir()}


def until(true: Callable[[], bool], limit_s: float, state: Callable[[], object]) -> None:
    """Wait for something that must come true."""
    deadline = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < deadline, state()
        time.sleep(0.1)


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


@pytest.fixture
def start() -> Iterator[Callable[[str], Driver]]:
    drivers: list[Driver] = []

    def make(body: str) -> Driver:
        drivers.append(Driver(body))
        return drivers[-1]

    yield make
    for driver in drivers:
        driver.kill()


def test_a_normal_end_leaves_nothing(start: Callable[[str], Driver]) -> None:
    driver = start("""
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones(4, np.float32))
            print("OPEN", flush=True)
            mesh.run(lambda chip, x: chip.all_reduce(x), x)
    """)
    driver.wait_for("OPEN")
    chips = [p for p in driver.family if "ChipHost" in " ".join(p.cmdline())]
    assert len(chips) == 4
    code, _, err = driver.end()
    assert (code, err) == (0, "")
    driver.left_nothing()


def test_an_exception_in_a_program_leaves_nothing(start: Callable[[str], Driver]) -> None:
    driver = start("""
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones(4, np.float32))
            print("OPEN", flush=True)
            mesh.run(fails, x)
    """)
    driver.wait_for("OPEN")
    code, _, err = driver.end()
    assert code == 1
    assert "KeyError: 'planted'" in err
    driver.left_nothing()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_run_leaves_nothing(
    start: Callable[[str], Driver], number: signal.Signals
) -> None:
    driver = start("""
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones(4, np.float32))
            print("OPEN", flush=True)
            mesh.run(forever, x)
    """)
    driver.wait_for("OPEN")
    time.sleep(0.5)  # into the run; sooner would be a test of the same kind
    driver.process.send_signal(number)
    code, _, _ = driver.end()
    assert code != 0
    driver.left_nothing()


def test_a_killed_driver_leaves_nothing_once_the_next_start_has_swept(
    start: Callable[[str], Driver],
) -> None:
    driver = start("""
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones(4, np.float32))
            print("OPEN", flush=True)
            mesh.run(forever, x)
    """)
    driver.wait_for("OPEN")
    agents = {p for p in driver.family if "Agent" in p.name() or "agent" in " ".join(p.cmdline())}
    driver.process.kill()
    driver.end()
    until(lambda: set(driver.living()) <= agents, LIMIT_S, driver.living)
    sweep_dead_sessions()
    driver.left_nothing(AGENTS_LIMIT_S)


def test_a_killed_chip_is_named_and_the_mesh_closes(start: Callable[[str], Driver]) -> None:
    driver = start("""
        import threading
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones(4, np.float32))
            print("OPEN", flush=True)
            pid = mesh.reports()[2].pid
            threading.Timer(1.0, os.kill, (pid, signal.SIGKILL)).start()
            try:
                mesh.run(forever, x)
            except ChipDown as error:
                print("DOWN", error.chip, flush=True)
            try:
                mesh.run(forever, x)
            except MeshClosed as error:
                print("CLOSED", flush=True)
    """)
    driver.wait_for("OPEN")
    assert driver.wait_for("DOWN") == "2"
    driver.wait_for("CLOSED")
    assert driver.end()[0] == 0
    driver.left_nothing()


def test_a_mesh_on_a_running_cluster_leaves_the_cluster_as_it_was(
    start: Callable[[str], Driver],
) -> None:
    driver = start("""
        import ray
        from ray.cluster_utils import Cluster
        from ray.util.placement_group import placement_group_table
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        with open_mesh("quietbox2", address=cluster.address) as mesh:
            nodes = mesh.run(lambda chip: ray.get_runtime_context().get_node_id())
            print("BOARDS", nodes[0] == nodes[1], nodes[2] == nodes[3], flush=True)
        ray.init(address=cluster.address, logging_level="ERROR")
        groups = [g["state"] for g in placement_group_table().values()]
        print("GROUPS", set(groups) <= {"REMOVED"}, flush=True)
        from ray._private.state import actors
        print("ACTORS", {a["State"] for a in actors().values()} <= {"DEAD"}, flush=True)
        print("CPUS", ray.available_resources()["CPU"] == 2.0, flush=True)
        ray.shutdown()
        cluster.shutdown()
    """)
    assert driver.wait_for("BOARDS") == "True True"
    assert driver.wait_for("GROUPS") == "True"
    assert driver.wait_for("ACTORS") == "True"
    assert driver.wait_for("CPUS") == "True"
    assert driver.end()[0] == 0
    until(lambda: not driver.living(), LIMIT_S, driver.living)


def test_an_address_where_nobody_answers_is_a_launch_error(start: Callable[[str], Driver]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = start(f"""
        open_mesh("p150", address="127.0.0.1:{port}")
    """)
    code, _, err = driver.end()
    assert code == 1
    assert "LaunchError: cannot open p150: no Ray cluster answers at" in err
