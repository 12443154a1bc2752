"""Chips of other processes are found by the memory that they hold, and forgotten with it."""

import gc
import os
import pickle
import subprocess
import sys

import pytest

from meshtwin.fabric.transport.found_segments import FoundMesh, find_meshes
from meshtwin.fabric.transport.pair import open_transport
from meshtwin.fabric.transport.segment import Segment

if not sys.platform.startswith("linux"):
    pytest.skip("segments are memfds, which Linux has", allow_module_level=True)

OTHER_CHIP = """
import pickle
from meshtwin.fabric.transport.pair import open_transport
end = open_transport(1, 2, "shared_memory")
print(pickle.dumps(end.address.segment).hex(), flush=True)
input()
"""


@pytest.fixture(autouse=True)
def garbage_is_gone() -> None:
    """Memory of chips that other tests have closed, in threads of this process."""
    gc.collect()


def meshes_of(pid: int) -> list[FoundMesh]:
    """The meshes that a process has a chip of."""
    return [mesh for mesh in find_meshes() if pid in {chip.pid for chip in mesh.chips}]


def test_chips_that_hold_each_others_memory_are_one_mesh_until_they_close() -> None:
    assert not meshes_of(os.getpid())
    ends = [open_transport(rank, 3, "shared_memory") for rank in range(3)]
    try:
        for end in ends:
            end.connect([other.address for other in ends])
            end.begin_run(7)
        (mesh,) = meshes_of(os.getpid())
        assert [(c.rank, c.pid, c.lives, c.run_id) for c in mesh.chips] == [
            (rank, os.getpid(), True, 7) for rank in range(3)
        ]
        assert mesh.driver_pid == os.getpid()
        assert "pytest" in mesh.command
        assert all(chip.flight.readonly for chip in mesh.chips)
    finally:
        for end in ends:
            end.close()
    assert not meshes_of(os.getpid())


def test_a_chip_whose_process_has_ended_is_seen_as_long_as_a_peer_holds_its_memory() -> None:
    command = [sys.executable, "-c", OTHER_CHIP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        segment = Segment.open(pickle.loads(bytes.fromhex(process.stdout.readline().decode())))
        try:
            (mesh,) = meshes_of(process.pid)
            assert [(c.rank, c.lives) for c in mesh.chips] == [(1, True)]
            assert mesh.driver_pid == process.pid
            process.kill()
            process.wait()
            (mesh,) = meshes_of(process.pid)
            assert [(c.rank, c.lives) for c in mesh.chips] == [(1, False)]
            assert mesh.driver_pid is None
        finally:
            segment.close()
    assert not meshes_of(process.pid)
