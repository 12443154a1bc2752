"""Whatever ends a mesh, nothing stays behind: no process, socket, shared memory or folder."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from meshtwin.mesh.session_folder import sweep_dead_sessions

from ..models.tiny import tiny_config, write_tiny
from ..models.tiny_tokenizer import byte_level_tokenizer, write_tokenizer
from .driver import LIMIT_S, Driver, until

pytestmark = [pytest.mark.ray, pytest.mark.slow]
Start: TypeAlias = Callable[[str | list[str]], Driver]
AGENTS_LIMIT_S = 180.0
"""Ray's two agents of a node try to reach a dead head for about a minute before they end."""


def test_a_normal_end_leaves_nothing(start: Start) -> None:
    driver = start("""
        with open_mesh("quietbox2") as mesh:
            x = mesh.replicate(np.ones(4, np.float32))
            print("OPEN", flush=True)
            mesh.run(lambda chip, x: chip.all_reduce(x), x)
            print("PIDS", len({report.pid for report in mesh.reports()}))
    """)
    driver.wait_for("OPEN")
    code, out, err = driver.end()
    assert (code, err) == (0, "")
    assert "PIDS 4" in out
    driver.left_nothing()


def test_an_exception_in_a_program_leaves_nothing(start: Start) -> None:
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


IN_A_RUN = """
with open_mesh("quietbox2") as mesh:
    x = mesh.replicate(np.ones(4, np.float32))
    print("OPEN", flush=True)
    mesh.run(forever, x)
"""


def test_a_script_that_never_closes_its_mesh_leaves_nothing(start: Start) -> None:
    driver = start("""
        mesh = open_mesh("quietbox2")
        print("OPEN", flush=True)
    """)
    driver.wait_for("OPEN")
    code, _, err = driver.end()
    assert (code, err) == (0, "")
    driver.left_nothing()


def test_sigterm_in_the_middle_of_a_run_leaves_nothing(start: Start) -> None:
    driver = start(IN_A_RUN)
    driver.wait_for("OPEN")
    time.sleep(0.5)  # into the run; sooner would be a test of the same kind
    driver.process.send_signal(signal.SIGTERM)
    code, _, err = driver.end()
    assert code != 0
    assert "Traceback" not in err
    driver.left_nothing()


def test_ctrl_c_in_the_middle_of_a_run_leaves_nothing(start: Start) -> None:
    driver = start(IN_A_RUN)
    driver.wait_for("OPEN")
    time.sleep(0.5)
    driver.press_ctrl_c()
    code, _, err = driver.end()
    assert code == -signal.SIGINT
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    driver.left_nothing()


@pytest.mark.parametrize("after_s", [0.3, 1.5, 3.0])
def test_ctrl_c_while_the_mesh_opens_leaves_nothing(start: Start, after_s: float) -> None:
    driver = start("""
        print("OPENING", flush=True)
        with open_mesh("quietbox2") as mesh:
            mesh.run(forever, mesh.replicate(np.ones(4, np.float32)))
    """)
    driver.wait_for("OPENING")
    time.sleep(after_s)  # somewhere on the way: in ray.init, in the actors' start, or later
    driver.note_family()
    driver.press_ctrl_c()
    code, _, _ = driver.end()
    assert code != 0
    driver.left_nothing()


def test_ctrl_c_while_text_is_generated_leaves_nothing(start: Start, tmp_path: Path) -> None:
    config = tiny_config(vocab_size=288, max_position_embeddings=40_000, eos_token_ids=())
    write_tiny(tmp_path, config)
    write_tokenizer(tmp_path, byte_level_tokenizer())
    command = [sys.executable, "-m", "meshtwin.deploy.cli", "generate", "the cat"]
    driver = start([*command, "--model", str(tmp_path), "--max-tokens", "30000"])
    assert driver.process.stdout is not None
    assert driver.process.stdout.read(1)
    driver.note_family()
    driver.press_ctrl_c()
    code, _, err = driver.end()
    assert code == 130
    assert err.splitlines()[-1] == "meshtwin: interrupted"
    driver.left_nothing()


def test_a_killed_driver_leaves_nothing_once_the_next_start_has_swept(
    start: Start,
) -> None:
    driver = start(IN_A_RUN)
    driver.wait_for("OPEN")
    agents = driver.named("Agent", "agent")
    driver.process.kill()
    driver.end()
    until(lambda: set(driver.living()) <= agents, LIMIT_S, driver.living)
    sweep_dead_sessions()
    driver.left_nothing(AGENTS_LIMIT_S)


def test_a_killed_chip_is_named_and_the_mesh_closes(start: Start) -> None:
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
