"""Opening a 4-chip mesh, beside ray.init and four empty actors, in turn.

    python benchmarks/bench_open.py --out benchmarks/results

Each run is a process of its own that has imported its libraries before the clock starts, and ends
with every actor having answered once. All figures are wall time of this machine.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

EMPTY = """
import logging, os, time, ray
class Empty:
    def answer(self):
        return os.getpid()
start = time.perf_counter()
ray.init(address="local", include_dashboard=False, num_cpus=4, logging_level=logging.ERROR)
actors = [ray.remote(Empty).options(num_cpus=0).remote() for _ in range(4)]
assert len(set(ray.get([actor.answer.remote() for actor in actors]))) == 4
print(time.perf_counter() - start)
ray.shutdown()
"""

MESH = """
import os, time, ray
from meshtwin.mesh.device import open_mesh
start = time.perf_counter()
with open_mesh("quietbox2") as mesh:
    assert len(set(mesh.run(lambda chip: os.getpid()))) == 4
    print(time.perf_counter() - start)
"""


def wall_s(script: str) -> float:
    """One run in a fresh process."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print, and write the results page if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="folder for the results page")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    wall_s(EMPTY), wall_s(MESH)  # warm-up
    pairs = [(wall_s(EMPTY), wall_s(MESH)) for _ in range(args.rounds)]
    ratio = statistics.median(mesh / empty for empty, mesh in pairs)
    empty, mesh = (statistics.median(column) for column in zip(*pairs, strict=True))
    result = {"wall_empty_s": empty, "wall_mesh_s": mesh, "ratio": ratio, "rounds": args.rounds}
    text = "\n".join(
        [
            "# Opening a mesh, wall time",
            "",
            f"- date: {date.today().isoformat()}",
            f"- machine: {os.cpu_count()} cores, Python {platform.python_version()}, "
            f"ray {version('ray')}, meshtwin {version('meshtwin')}",
            f"- run: {args.rounds} pairs in turn, medians",
            "",
            "| what | seconds |",
            "|---|---|",
            f"| ray.init and four empty actors | {empty:.2f} |",
            f"| open_mesh, quietbox2, first program done | {mesh:.2f} |",
            f"| ratio, median of pairs | {ratio:.2f} |",
            "",
        ]
    )
    print(json.dumps(result) if args.json else text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / f"open_{os.cpu_count()}cores_{date.today()}.md").write_text(text)


if __name__ == "__main__":
    main()
