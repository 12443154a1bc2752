"""all_reduce, all_gather and reduce_scatter between processes of this machine: wall time.

    apt-get install openmpi-bin libopenmpi-dev && pip install mpi4py      # the peers; a missing one
    pip install torch==2.13.0                                             # is skipped
    python benchmarks/bench_collectives.py --out benchmarks/results
    python benchmarks/bench_collectives.py --busy 2      # while two other processes keep cores busy

meshtwin, mpi4py on Open MPI, and torch.distributed with gloo; beside them what numpy takes to copy
every rank's whole tensor once, with one process a core: the least that all three must move. Every
answer is checked. Then every contender measures the same size in turn, round after round,
while the others sleep; a ratio is the median of the rounds' own ratios, a time the slowest rank's
mean over a loop after a barrier. float32, out of place, tensors resident, one thread a rank.
"""

import argparse
import importlib.util
import json
import os
import platform
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from meshtwin.collectives.bench import default_iterations
from meshtwin.deploy.bench_run import Trial, on_chip
from meshtwin.mesh.device import MeshDevice, open_mesh

WORKER = Path(__file__).with_name("collective_worker.py")
BOXES = {4: "quietbox2", 32: "galaxy"}
COLLECTIVES = ("all_reduce", "all_gather", "reduce_scatter")
SIZES = {4: (4 << 10, 256 << 10, 4 << 20, 64 << 20), 32: (4 << 10, 256 << 10, 4 << 20)}
MPIRUN = "mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1"
LIMIT_S = 300.0
FEW_RANKS = 4
SMALL_BYTES, MIDDLE_BYTES = 8 << 10, 256 << 10
SMALL_LOOPS = {4: (1000, 100), 32: (100, 20)}
MIDDLE_ITERATIONS = 200
"""Short calls: enough of them in a row that waking the ranks up counts for little. For the small
ones, by ranks: calls, and calls before that. Among 4 ranks these are the numbers of the OSU
micro-benchmarks (COLL_LOOP_SMALL, COLL_SKIP_SMALL); among 32, gloo takes 0.2 s for each."""


class NotAvailable(Exception):
    """A peer is not installed, or does not have this operation."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured; size in bytes of the whole tensor, as in `meshtwin bench`."""

    collective: str
    num_ranks: int
    size: int

    @property
    def iterations(self) -> int:
        """Calls in a loop."""
        if self.size <= SMALL_BYTES:
            return SMALL_LOOPS[self.num_ranks][0]
        if self.size <= MIDDLE_BYTES and self.num_ranks <= FEW_RANKS:
            return MIDDLE_ITERATIONS
        return default_iterations(self.size, self.num_ranks)

    @property
    def warmup(self) -> int:
        """Calls before it."""
        return (
            SMALL_LOOPS[self.num_ranks][1] if self.size <= SMALL_BYTES else min(5, self.iterations)
        )


class Contender(Protocol):
    """Someone who carries out a case: the wall seconds of a call, and the wrong elements."""

    def measure(self, case: Case) -> tuple[float, int]: ...


class Ours:
    """meshtwin: the loop runs inside the actors, on tensors that stay there."""

    def __init__(self, mesh: MeshDevice) -> None:
        self.mesh = mesh

    def measure(self, case: Case) -> tuple[float, int]:
        trial = Trial(case.collective, iterations=case.iterations, warmup=case.warmup, repeats=1)
        taken = self.mesh.run(on_chip, trial, case.size // 4)
        return max(chip.wall_s[0] for chip in taken), sum(chip.num_wrong for chip in taken)


class Peer:
    """Processes of collective_worker.py, in process groups of their own, spoken to by FIFOs."""

    def __init__(self, kind: str, num_processes: int, folder: Path) -> None:
        self.kind, self.num_processes, self.folder = kind, num_processes, folder
        os.mkfifo(folder / "replies")
        self.replies = os.open(folder / "replies", os.O_RDWR)
        self.commands = []
        for rank in range(num_processes):
            os.mkfifo(folder / f"commands.{rank}")
            self.commands.append(os.open(folder / f"commands.{rank}", os.O_RDWR))
        self.unread = b""
        with (folder / "stderr").open("w") as stderr:
            self.processes = [
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    start_new_session=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
                )
                for command in _commands(kind, num_processes, folder)
            ]
        self._answers()

    def measure(self, case: Case) -> tuple[float, int]:
        command = {
            "collective": case.collective,
            "count": case.size // 4,
            "num_ranks": case.num_ranks,
            "iterations": case.iterations,
            "warmup": case.warmup,
        }
        for pipe in self.commands:
            os.write(pipe, json.dumps(command).encode() + b"\n")
        answers = self._answers()
        if any("error" in answer for answer in answers):
            raise NotAvailable(next(a["error"] for a in answers if "error" in a))
        return max(a["wall_s"] for a in answers), sum(a["num_wrong"] for a in answers)

    def close(self) -> None:
        """Let the processes end by themselves, and end what has not after a while."""
        for pipe in (*self.commands, self.replies):
            os.close(pipe)
        for process in self.processes:
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _answers(self) -> list[dict[str, Any]]:
        """One line from every process."""
        deadline = time.monotonic() + LIMIT_S
        while self.unread.count(b"\n") < self.num_processes:
            ready, _, _ = select.select([self.replies], [], [], 1.0)
            if ready:
                self.unread += os.read(self.replies, 1 << 16)
            elif time.monotonic() > deadline or any(p.poll() for p in self.processes):
                text = (self.folder / "stderr").read_text()[-2000:]
                self.close()
                sys.exit(f"{self.kind} with {self.num_processes} processes gave no answer:\n{text}")
        lines, self.unread = self.unread.splitlines(), b""
        return [json.loads(line) for line in lines]


def _commands(kind: str, num_processes: int, folder: Path) -> list[list[str]]:
    """The command lines that start a peer."""

    def worker(rank: int) -> list[str]:
        return [sys.executable, str(WORKER), kind, str(folder), str(rank), str(num_processes)]

    if kind != "mpi":
        return [worker(rank) for rank in range(num_processes)]
    as_root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return [[*MPIRUN.split(), *as_root, "-np", str(num_processes), *worker(0)]]


def missing(kind: str) -> str | None:
    """Why a peer cannot take part, or None."""
    if kind == "mpi" and shutil.which("mpirun") is None:
        return "no mpirun: apt-get install openmpi-bin libopenmpi-dev"
    module = {"mpi": "mpi4py", "gloo": "torch"}.get(kind)
    if module is not None and importlib.util.find_spec(module) is None:
        return f"pip install {module}"
    return None


@contextmanager
def contenders(num_ranks: int) -> Iterator[dict[str, Contender]]:
    """Everybody who is there, started and asleep."""
    with ExitStack() as stack:
        found: dict[str, Contender] = {
            "meshtwin": Ours(stack.enter_context(open_mesh(BOXES[num_ranks])))
        }
        for name, kind in (("Open MPI", "mpi"), ("gloo", "gloo"), ("numpy copy", "copy")):
            why = missing(kind)
            if why is not None:
                print(f"{name} is skipped: {why}", file=sys.stderr)
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{kind}-")))
            processes = min(os.cpu_count() or 1, num_ranks) if kind == "copy" else num_ranks
            print(f"starting {name}: {processes} processes", file=sys.stderr)
            peer = Peer(kind, processes, folder)
            stack.callback(peer.close)
            found[name] = peer
        yield found


@contextmanager
def busy(num_processes: int) -> Iterator[None]:
    """Meanwhile, processes that do nothing but take a core each."""
    spin = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(spin, start_new_session=True) for _ in range(num_processes)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(case: Case, found: dict[str, Contender], rounds: int) -> dict[str, Any]:
    """The case's row: medians in microseconds, and peer time / our time, round by round.

    Round 0 only checks, and finds out who lacks the operation.
    """
    taken: dict[str, list[float]] = {name: [] for name in found}
    for number in range(rounds + 1):
        for name in list(taken):
            try:
                wall_s, num_wrong = found[name].measure(case)
            except NotAvailable as error:
                print(f"{name}, {case.collective}: n/a ({error})", file=sys.stderr)
                del taken[name]
                continue
            if num_wrong:
                sys.exit(f"{name}: {num_wrong} elements of {case} are wrong")
            if number:
                taken[name].append(wall_s)
    row: dict[str, Any] = {
        "collective": case.collective,
        "num_ranks": case.num_ranks,
        "size_bytes": case.size,
    }
    for name, times in taken.items():
        ratios = [peer / ours for peer, ours in zip(times, taken["meshtwin"], strict=True)]
        row[name] = {
            "wall_us": statistics.median(times) * 1e6,
            "ratio": statistics.median(ratios),
            "ratio_min_max": [min(ratios), max(ratios)],
        }
    return row


def page(rows: list[dict[str, Any]], setup: dict[str, Any], names: Sequence[str]) -> str:
    """The results as Markdown."""
    lines = ["# Collectives between processes of one machine, wall time", ""]
    lines += [f"- {key}: {value}" for key, value in setup.items()]
    lines += [
        "",
        "Microseconds of a call: medians over the rounds. In brackets peer time / meshtwin's time,",
        "the median of the rounds' own ratios (lowest to highest): over 1, meshtwin is faster.",
        "",
        "| operation | ranks | size | " + " | ".join(names) + " |",
        "|---" * (3 + len(names)) + "|",
    ]
    for row in rows:
        cells = [row["collective"], str(row["num_ranks"]), _size(row["size_bytes"])]
        cells += [_cell(row[name], name) if name in row else "n/a" for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(taken: dict[str, Any], name: str) -> str:
    wall = f"{taken['wall_us']:.1f}"
    if name == "meshtwin":
        return wall
    low, high = taken["ratio_min_max"]
    return f"{wall} (**{taken['ratio']:.2g}**, {low:.2g} to {high:.2g})"


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def facts(args: argparse.Namespace, names: Sequence[str], load: float) -> dict[str, Any]:
    """What the figures depend on."""
    packages = {"meshtwin": ("meshtwin", "numpy", "ray"), "Open MPI": ("mpi4py",)}
    packages["gloo"] = ("torch",)
    wanted = [package for name in names for package in packages.get(name, ())]
    setup = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
        f"{platform.python_version()}, load {load:.1f} before the start",
        "versions": ", ".join(f"{package} {version(package)}" for package in wanted),
        "run": f"float32, {args.rounds} rounds in turn, others asleep meanwhile; every answer "
        "checked; size is the whole tensor, as in `meshtwin bench`",
        "numpy copy": "every rank's whole tensor copied once by np.copyto, the ranks shared out "
        f"over {os.cpu_count()} processes: the least that must be moved",
    }
    if args.busy:
        setup["busy"] = f"{args.busy} other processes kept the cores busy all the time"
    if "Open MPI" in names:
        told = subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=True)
        setup["Open MPI"] = f"{told.stdout.splitlines()[0]}, as `{MPIRUN}`"
    if "gloo" in names:
        setup["gloo"] = "one thread a rank, interface lo; its all_reduce is in place, so the input "
        setup["gloo"] += "is copied first"
    return setup


def main() -> None:
    """Start everybody, measure, and print or write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--ranks", default="4,32", help="4 (quietbox2), 32 (galaxy), or both")
    parser.add_argument("--largest", type=int, default=64 << 20, help="leave out larger sizes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--busy", type=int, default=0, help="so many processes that keep cores busy"
    )
    parser.add_argument("--out", type=Path, help="folder for the results page")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    names: list[str] = []
    setup: dict[str, Any] = {}
    load = os.getloadavg()[0]
    with busy(args.busy):
        for num_ranks in map(int, args.ranks.split(",")):
            with contenders(num_ranks) as found:
                names = list(found)
                setup = setup or facts(args, names, load)
                for collective in COLLECTIVES:
                    for size in SIZES[num_ranks]:
                        if size > args.largest:
                            continue
                        case = Case(collective, num_ranks, size)
                        rows.append(measure(case, found, args.rounds))
                        print(
                            f"measured {collective}, {num_ranks} ranks, {_size(size)}",
                            file=sys.stderr,
                        )
    if args.json:
        print(json.dumps({"setup": setup, "rows": rows}, indent=2))
    else:
        print(page(rows, setup, names))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        kept = "_busy" if args.busy else ""
        name = f"collectives_{os.cpu_count()}cores{kept}_{setup['date']}.md"
        (args.out / name).write_text(page(rows, setup, names))


if __name__ == "__main__":
    main()
