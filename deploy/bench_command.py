"""`meshtwin bench`: wall and simulated time of a collective, in the columns of nccl-tests."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from rich.console import Console

from ..collectives.algorithm import find
from ..collectives.bench import COLLECTIVES, REDUCTIONS, Row, sizes
from ..collectives.choose import AUTO
from ..collectives.errors import CollectiveError
from ..collectives.reduce_op import ReduceOp
from ..collectives.request import wire_of
from ..mesh.device import TRANSPORTS, open_mesh
from . import arguments
from .bench_run import Trial, group_size, measure
from .bench_table import CSV_COLUMNS, csv_line, header, line, values

DESCRIPTION = """\
Measure a collective on every size from --min to --max and check its answer against numpy.

Two clocks, two groups of columns: "wall" is how long this machine takes to emulate the call,
"simulated" is how long the call takes on the emulated box.

  size    bytes of the whole tensor: the larger of a chip's input and output. It is what each chip
          puts into all_reduce, reduce_scatter, all_to_all, broadcast, reduce and scatter, and what
          a chip (or the root) gets from all_gather and gather, whose inputs are size / n
  count   elements of the whole tensor for all_reduce, broadcast and reduce, of one chip's part
          (size / n) for the others
  time    the slowest chip's mean over a loop of --iters calls, after a barrier; the median of
          --repeats loops, and the fastest of them under min
  algbw   size / time
  busbw   algbw times 2(n-1)/n for all_reduce, (n-1)/n for all_gather, reduce_scatter, all_to_all,
          gather and scatter, 1 for broadcast and reduce: what a link must carry, whatever n
  #wrong  elements on all chips that are not equal to numpy's. The inputs are small integers, exact
          in every dtype and every order of adding, so any difference counts
  sim_*   the same from the chips' simulated clocks: one call after a barrier, on the slowest chip

The definitions are those of nccl-tests, doc/PERFORMANCE.md.
"""
EPILOG = """\
examples:
  meshtwin bench all_reduce
  meshtwin bench all_gather --box galaxy --axis row --min 64K --max 1M --dtype bfloat16
  meshtwin bench all_reduce --dtype bfloat16 --wire-dtype bfp8_b
  meshtwin bench broadcast --root 3 --min 1M --max 1M --csv > broadcast.csv
"""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "bench",
        parents=[common],
        help="measure a collective: wall and simulated time, checked against numpy",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "collective",
        type=arguments.one_of("collective", tuple(COLLECTIVES)),
        help=", ".join(COLLECTIVES),
    )
    command.add_argument(
        "--box", type=arguments.box, default="quietbox2", help="see `meshtwin boxes` (%(default)s)"
    )
    size = command.add_argument_group("sizes, in bytes or with K, M, G (4K is 4096)")
    size.add_argument(
        "--min", type=arguments.size, default="4K", metavar="SIZE", help="(%(default)s)"
    )
    size.add_argument(
        "--max", type=arguments.size, default="64M", metavar="SIZE", help="(%(default)s)"
    )
    size.add_argument(
        "--factor",
        type=arguments.at_least(2),
        default=4,
        metavar="N",
        help="between sizes (%(default)s)",
    )
    call = command.add_argument_group("the call")
    call.add_argument(
        "--op",
        type=arguments.one_of("op", tuple(REDUCTIONS)),
        help=f"{', '.join(REDUCTIONS)} (sum)",
    )
    call.add_argument("--dtype", type=arguments.dtype, default="float32", help="(%(default)s)")
    call.add_argument(
        "--wire-dtype",
        type=arguments.any_dtype,
        help="in which values travel, such as bfp8_b (that of the tensor)",
    )
    call.add_argument(
        "--algorithm", metavar="NAME", help="see `meshtwin explain` (the quickest on the box)"
    )
    call.add_argument(
        "--axis",
        type=arguments.axis,
        help="row or col: all groups along that mesh axis (the whole mesh)",
    )
    call.add_argument(
        "--root", type=arguments.at_least(0), metavar="N", help="position in the group, from 0 (0)"
    )
    loop = command.add_argument_group("the measurement")
    loop.add_argument(
        "--iters",
        type=arguments.at_least(1),
        metavar="N",
        help="calls a loop (20; from 3 up, where a loop of all chips would put in over 1 GiB)",
    )
    loop.add_argument(
        "--warmup", type=arguments.at_least(0), default=5, metavar="N", help="(%(default)s)"
    )
    loop.add_argument(
        "--repeats", type=arguments.at_least(1), default=3, metavar="N", help="loops (%(default)s)"
    )
    loop.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=True, help="compare with numpy"
    )
    command.add_argument("--csv", action="store_true", help="print CSV, a line a size")
    command.add_argument("--address", help="a Ray cluster (auto, host:port); default: a local Ray")
    command.add_argument("--transport", choices=TRANSPORTS, default="auto", help="(auto)")
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Measure, and print rows as they come; exit code 1 when an element was wrong."""
    trial, wanted = prepare(args)
    rows = []
    with waiting(f"opening {args.box.name}: {args.box.num_chips} chips"):
        mesh = open_mesh(args.box, address=args.address, transport=args.transport)
    with mesh:
        for text in (
            () if args.json else [",".join(CSV_COLUMNS)] if args.csv else _head(args, trial)
        ):
            print(text, flush=True)
        measured = measure(mesh, trial, wanted)
        for number in range(1, len(wanted) + 1):
            with waiting(f"{trial.collective}, size {number} of {len(wanted)}"):
                row = next(measured, None)
            if row is None:  # the smallest sizes came to the same number of elements
                break
            rows.append(row)
            if not args.json:
                print(csv_line(row) if args.csv else line(row), flush=True)
    if args.json:
        answer = {"environment": environment(args, trial), "rows": [values(row) for row in rows]}
        print(json.dumps(answer, indent=2))
    return _verdict(rows)


def prepare(args: argparse.Namespace) -> tuple[Trial, list[int]]:
    """What to measure, and the sizes; what does not fit together is misuse, exit code 2."""
    collective = COLLECTIVES[args.collective]
    if args.csv and args.json:
        args.misuse("--csv and --json do not go together: choose one")
    try:
        wanted = sizes(args.min, args.max, args.factor)
    except ValueError as error:
        args.misuse(f"--min, --max: {error}; the nearest is --max {args.min}")
        raise
    if args.root is not None and not collective.operation.has_root:
        args.misuse(f"{args.collective} has no root: leave --root out")
    num_ranks = group_size(args.box, args.axis)
    if args.root is not None and args.root >= num_ranks:
        args.misuse(
            f"--root {args.root} is not in a group of {num_ranks} chips; "
            f"the nearest is {num_ranks - 1}"
        )
    if args.op is not None and not collective.operation.reduces:
        args.misuse(f"{args.collective} reduces nothing: leave --op out")
    options: dict[str, str] = {}
    try:
        if args.algorithm not in (None, AUTO):
            options["algorithm"] = find(args.algorithm, collective.operation).name
        if args.op is not None:
            options["op"] = ReduceOp.parse(args.op, args.dtype).value
        if args.wire_dtype is not None and wire_of(args.wire_dtype, args.dtype) is not None:
            options["wire_dtype"] = args.wire_dtype.label
    except CollectiveError as error:
        args.misuse(str(error))
    trial = Trial(
        collective=args.collective,
        dtype=args.dtype,
        axis=args.axis,
        root=args.root or 0,
        options=options,
        iterations=args.iters,
        warmup=args.warmup,
        repeats=args.repeats,
        check=args.check,
    )
    return trial, wanted


def environment(args: argparse.Namespace, trial: Trial) -> dict[str, Any]:
    """What the rows depend on: versions, the machine, the box and the options."""
    return {
        "versions": {name: version(name) for name in ("meshtwin", "numpy", "ray")},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "box": args.box.name,
        "num_chips": args.box.num_chips,
        "num_ranks": group_size(args.box, trial.axis),
        "axis": trial.axis,
        "transport": args.transport,
        "algorithm": trial.options.get("algorithm", AUTO),
        "wire_dtype": trial.options.get("wire_dtype", trial.dtype.label),
        "warmup": trial.warmup,
        "repeats": trial.repeats,
        "checked": trial.check,
    }


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """A line on stderr while something goes on, where that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text, refresh_per_second=2):  # seldom: the chips need the cores
        yield


def _head(args: argparse.Namespace, trial: Trial) -> list[str]:
    num_ranks = group_size(args.box, trial.axis)
    groups = args.box.num_chips // num_ranks
    over = f"{num_ranks} chips" if groups == 1 else f"{groups} groups of {num_ranks} chips at once"
    return [f"{trial.collective} on {args.box.name}, {over}", *header(args.box.name)]


def _verdict(rows: list[Row]) -> int:
    num_wrong = sum(row.num_wrong or 0 for row in rows)
    if num_wrong:
        print(f"meshtwin: {num_wrong} elements differ from numpy's", file=sys.stderr)
    return 1 if num_wrong else 0
