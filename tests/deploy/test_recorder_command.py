"""`meshtwin recorder` reads a mesh of another process while it is held up."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshtwin.deploy.cli import main
from meshtwin.deploy.recorder_command import see
from meshtwin.fabric.waits import Activity

from ..mesh.driver import Driver, until

if not sys.platform.startswith("linux"):
    pytest.skip("chips are found by their memfds", allow_module_level=True)

TESTS = Path(__file__).parent.parent
PROGRAM = """
import sys, time
from pathlib import Path
import numpy as np

def program(chip, flag):
    x = chip.tensor(np.ones(4, np.float32))
    chip.all_reduce(x)
    while chip.rank == 2 and not Path(flag).exists():
        time.sleep(0.02)
    return float(chip.all_reduce(x).to_numpy()[0])

print("opening", flush=True)
"""
THREADS = """
sys.path.insert(0, TESTS)
from spmd import run_spmd
print("ended", run_spmd("quietbox2", program, lambda rank: (FLAG,)))
"""
MESH = """
from meshtwin import open_mesh
with open_mesh("quietbox2") as mesh:
    print("ended", mesh.run(program, FLAG))
"""


@pytest.fixture(params=["threads", pytest.param("mesh", marks=pytest.mark.ray)])
def held_up(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Driver, Path]]:
    """A process with four chips, of which 0, 1 and 3 wait for 2; a file that lets 2 go on."""
    flag = tmp_path / "go"
    script = PROGRAM + (THREADS if request.param == "threads" else MESH)
    script = script.replace("TESTS", repr(str(TESTS))).replace("FLAG", repr(str(flag)))
    path = tmp_path / "held_up.py"
    path.write_text(script)
    driver = Driver([sys.executable, str(path)])
    try:
        driver.wait_for("opening")
        until(lambda: waiting(driver) == [0, 1, 3], 60.0, lambda: waiting(driver))
        yield driver, flag
    finally:
        driver.kill()


def waiting(driver: Driver) -> list[int]:
    """The chips that wait."""
    return [
        chip
        for _, sight in see(driver.process.pid)
        for chip, look in sight.chips.items()
        if look.status.activity is Activity.WAITING
    ]


def test_it_says_who_waits_for_whom_where_and_who_holds_them_up(
    held_up: tuple[Driver, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    driver, flag = held_up
    pid = driver.process.pid
    assert main(["recorder", "--pid", str(pid), "--last", "1"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(f"mesh of 4 chips on this host, opened by process {pid}: ")
    assert "run 1) waits for chip 2, for " in out[1]
    assert "    #1 all_reduce(shape (4,), float32, op sum) at held_up.py:11, " in out[2]
    assert "run 1) runs, " in out[5]
    assert "    #0 all_reduce(shape (4,), float32, op sum) at held_up.py:8, " in out[6]
    assert out[-1] == "held up by chip 2 (runs)"

    assert main(["recorder", "--json", "--pid", str(pid)]) == 0
    (mesh,) = json.loads(capsys.readouterr().out)
    assert (mesh["driver_pid"], mesh["stuck"], mesh["held_up_by"]) == (pid, None, [2])
    assert [chip["waits_for"] for chip in mesh["chips"]] == [[2], [2], [], [2]]
    assert [call["number"] for call in mesh["chips"][2]["calls"]] == [-2, 0]
    assert (len({chip["pid"] for chip in mesh["chips"]}) == 4) == (
        mesh["chips"][0]["pid"] != pid
    )  # a process a chip, or one for all

    cli = [sys.executable, "-m", "meshtwin.deploy.cli"]
    watcher = Driver([*cli, "recorder", "--watch", "--pid", str(pid)])
    watcher.wait_for("mesh of 4 chips")
    flag.touch()
    code, stdout, stderr = driver.end()
    assert (code, stdout) == (0, "ended [4.0, 4.0, 4.0, 4.0]\n"), stderr
    assert watcher.end()[0] == 0  # the mesh has gone
    assert main(["recorder", "--pid", str(pid)]) == 1
    assert f"that process {pid} opened" in capsys.readouterr().err


def test_without_a_mesh_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recorder", "--pid", "1"]) == 1
    assert "no mesh runs on " in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["recorder", "--json", "--watch"])
