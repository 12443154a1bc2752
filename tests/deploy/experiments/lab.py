"""Sweeps for tests."""

from pathlib import Path

from meshtwin.deploy.experiments.journal import Journal
from meshtwin.deploy.experiments.run import Row, run_sweep
from meshtwin.deploy.experiments.stamp import Stamp, stamp_of
from meshtwin.deploy.experiments.sweep import Sweep, read_sweep
from meshtwin.deploy.experiments.workers import on_this_process

SQUARES = """
def point(n, scale=1):
    if n == 3:
        raise ValueError("three is odd")
    return {"square": n * n * scale, "sim_ms": n / 2}

grid = {"n": [1, 2, 3, 4], "scale": [1, 10]}
"""


def sweep_of(folder: Path, text: str, name: str = "lab.py") -> Sweep:
    """The sweep of a file of this text."""
    path = folder / name
    path.write_text(text)
    return read_sweep(path)


def stamp(sweep: Sweep) -> Stamp:
    """Its stamp."""
    return stamp_of(sweep.function.digest)


def rows_of(sweep: Sweep, folder: Path, retry_failed: bool = False) -> list[Row]:
    """Run a sweep here, with a journal in the folder."""
    with Journal(folder) as journal:
        return run_sweep(
            sweep, stamp(sweep), journal, on_this_process, lambda *_: None, retry_failed
        )
