"""Points on a Ray, and sweeps that are killed."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from meshtwin.deploy.experiments.journal import FILE, Journal
from meshtwin.deploy.experiments.run import run_sweep
from meshtwin.deploy.experiments.workers import on_ray

from .lab import SQUARES, rows_of, stamp, sweep_of

LIMIT_S = 120.0


@pytest.mark.ray
def test_ray_gives_the_rows_that_this_process_gives(ray_session: None, tmp_path: Path) -> None:
    text = SQUARES.replace("[1, 2, 3, 4]", "list(range(200))")
    sweep = sweep_of(tmp_path, text)
    with Journal(tmp_path / "ray") as journal:
        rows = run_sweep(
            sweep, stamp(sweep), journal,
            lambda function, points: on_ray(function, points, None), lambda *_: None,
        )  # fmt: skip
    assert rows == rows_of(sweep, tmp_path / "here")


@pytest.mark.ray
def test_a_point_that_kills_its_process_is_a_row(ray_session: None, tmp_path: Path) -> None:
    text = """
import os
def point(n):
    if n == 30:
        os.kill(os.getpid(), 9)
    return {"square": n * n}
grid = {"n": list(range(40))}
"""
    sweep = sweep_of(tmp_path, text)
    outcomes = [o for chunk in on_ray(sweep.function, sweep.points, None) for o in chunk]
    assert sorted(o.values["n"] for o in outcomes) == list(range(40))
    (died,) = [outcome for outcome in outcomes if outcome.error]
    assert died.values == {"n": 30}
    assert "died" in died.error


def test_a_sweep_killed_half_way_ends_as_one_that_was_not(tmp_path: Path) -> None:
    text = """
import time
def point(n):
    time.sleep(0.01)
    with open(__file__ + ".calls", "a") as file:
        file.write(f"{n}\\n")
    return {"third": n / 3}
grid = {"n": list(range(150))}
"""
    for folder in ("killed", "whole"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "lab.py").write_text(text)
    command = [sys.executable, "-m", "meshtwin.deploy.cli", "sweep", "lab.py", "--local"]
    driver = subprocess.Popen(command, cwd=tmp_path / "killed", stderr=subprocess.DEVNULL)
    journal = tmp_path / "killed" / "lab-results" / FILE
    try:
        deadline = time.monotonic() + LIMIT_S
        while not (journal.exists() and journal.read_bytes().count(b"\n") >= 20):
            assert time.monotonic() < deadline
            assert driver.poll() is None
            time.sleep(0.005)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait(LIMIT_S)
    kept = journal.read_bytes().count(b"\n")
    assert kept < 150
    for folder in ("killed", "whole"):
        subprocess.run(command, cwd=tmp_path / folder, check=True, timeout=LIMIT_S,
                       capture_output=True)  # fmt: skip
    assert journal.read_bytes().count(b"\n") == 150
    results = [
        (tmp_path / f / "lab-results" / "results.csv").read_bytes() for f in ("killed", "whole")
    ]
    assert results[0] == results[1]
    calls = (tmp_path / "killed" / "lab.py.calls").read_text().split()
    assert set(calls) == {str(n) for n in range(150)}
    assert all(calls.count(str(n)) == 1 for n in range(kept))  # what was on disk is not repeated


CLUSTER = """
from ray.cluster_utils import Cluster
from meshtwin.deploy.cli import main
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
cluster.add_node(num_cpus=1)
code = main(["sweep", "lab.py", "--address", cluster.address])
cluster.shutdown()
raise SystemExit(code)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_cluster_evaluates_on_all_its_nodes(tmp_path: Path) -> None:
    (tmp_path / "lab.py").write_text(
        "import time, ray\n"
        "def point(n):\n"
        "    time.sleep(0.1)\n"
        "    return {'node': ray.get_runtime_context().get_node_id()}\n"
        "grid = {'n': list(range(60))}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER],
        cwd=tmp_path, timeout=LIMIT_S, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / "lab-results" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["n"] for row in rows] == [str(n) for n in range(60)]
    assert len({row["node"] for row in rows}) == 2
