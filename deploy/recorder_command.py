"""`meshtwin recorder`: what the chips on this host do at the moment, and did last."""

import argparse
import json
import socket
import sys
import time
from typing import Any

from ..fabric.flight_reader import FlightEntry
from ..fabric.standstill import Look, Sight, compare, is_settled, look_at
from ..fabric.transport.found_segments import FoundMesh, find_meshes
from ..fabric.waits import Activity, ChipStatus
from . import arguments
from .errors import NoMeshRuns

DESCRIPTION = """\
Read the flight recorders of all chips on this host, while a mesh runs or is stuck: what each chip
does, for whom it waits and since when, and its last calls. The mesh is not touched and goes on.

Chips are found by the memory that their processes hold, so this needs no name, no port and no Ray;
only meshes of the same user are seen. Chips that hold each other's memory are one mesh. Each chip
is looked at twice: it waits if it waited in the same call, and has said so again in between.

Times are of the wall clock, "sim" is the chip's simulated clock when the call began.
"""
EPILOG = """\
examples:
  meshtwin recorder
  meshtwin recorder --pid 4711 --last 10
  meshtwin recorder --watch
"""
BETWEEN_LOOKS_S = 0.1
"""A chip that waits says so every 0.05 s, when the machine lets it."""
LOOKS_LIMIT_S = 2.0
"""For a chip that does not say so again: then it waits no more."""
BETWEEN_PAGES_S = 1.0
CLEAR = "\033[2J\033[H"


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "recorder",
        parents=[common],
        help="what the chips of a running or stuck mesh do, and did last",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--pid", type=arguments.at_least(1), metavar="PID",
        help="only the mesh of this process: the one that opened it, or one of its chips",
    )  # fmt: skip
    command.add_argument(
        "--last", type=arguments.at_least(0), default=3, metavar="N",
        help="calls shown of each chip, of the 64 that are kept (%(default)s)",
    )  # fmt: skip
    command.add_argument("--watch", action="store_true", help="again and again, until it has gone")
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Print what all meshes do; with --watch, until there is none any more."""
    if args.json and args.watch:
        args.misuse("--json and --watch do not go together: choose one")
    seen = see(args.pid)
    if not seen:
        raise NoMeshRuns(socket.gethostname(), args.pid)
    if args.json:
        print(json.dumps([values(*one, args.last) for one in seen], indent=2))
        return 0
    while seen:
        page = "\n".join(line for one in seen for line in lines(*one, args.last))
        print((CLEAR if args.watch and sys.stdout.isatty() else "") + page, flush=True)
        if not args.watch:
            break
        time.sleep(BETWEEN_PAGES_S)
        seen = see(args.pid)
    return 0


def see(pid: int | None = None) -> list[tuple[FoundMesh, Sight]]:
    """The meshes of this host (or the one of a process), each looked at twice."""
    meshes = [
        mesh
        for mesh in find_meshes()
        if pid in (None, mesh.driver_pid, *(chip.pid for chip in mesh.chips))
    ]
    first = [_look(mesh) for mesh in meshes]
    second, limit = first, time.monotonic() + LOOKS_LIMIT_S
    while not all(map(is_settled, first, second)) and time.monotonic() < limit:
        time.sleep(BETWEEN_LOOKS_S)
        second = [_look(mesh) for mesh in meshes]
    return list(zip(meshes, map(compare, first, second), strict=True))


def lines(mesh: FoundMesh, sight: Sight, last: int) -> list[str]:
    """A mesh in words, a paragraph a chip."""
    now_ns = time.time_ns()
    opened = "" if mesh.driver_pid is None else f", opened by process {mesh.driver_pid}"
    command = f": {mesh.command}" if mesh.command else ""
    num = len(mesh.chips)
    found = [f"mesh of {num} chip{'s' if num > 1 else ''} on this host{opened}{command}"]
    for chip in mesh.chips:
        look = sight.chips[chip.rank]
        head = f"  chip {chip.rank} (process {chip.pid}, run {chip.run_id}) {does(look)}"
        found.append(head + (f", {_since(look, now_ns)}" if look.entries else ""))
        calls = [e for e in look.entries if e.text][-last:] if last else []
        found += [f"    {_line(entry, now_ns)}" for entry in reversed(calls)]
    return [*found, *verdict_lines(sight)]


def verdict_lines(sight: Sight) -> list[str]:
    """Whether the mesh is stuck, or who holds it up; nothing when nobody waits."""
    if sight.verdict is not None:
        edges, why = sight.verdict
        waits = [f"  chip {c} waits for {_chips(others)} in {what}" for c, others, what in edges]
        return [f"stuck: {why}", *waits]
    if not sight.holders:
        return []
    words = [
        f"chip {rank} ({does(sight.chips[rank]) if rank in sight.chips else 'not on this host'})"
        for rank in sight.holders
    ]
    return [f"held up by {', '.join(words)}"]


def does(look: Look) -> str:
    """What a chip does, in a few words."""
    status = look.status
    if status.activity is not Activity.WAITING:
        words = {Activity.RUNNING: "runs", Activity.ENDED: "has ended its program"}
        return status.what or words.get(status.activity, f"is {status.activity.name.lower()}")
    return f"waits for {'one of ' if status.any_of else ''}{_chips(status.awaited)}"


def values(mesh: FoundMesh, sight: Sight, last: int) -> dict[str, Any]:
    """A mesh as plain values; wall times in seconds since the epoch, simulated ones in ps."""
    return {
        "driver_pid": mesh.driver_pid,
        "command": mesh.command,
        "stuck": None if sight.verdict is None else sight.verdict[1],
        "held_up_by": list(sight.holders),
        "chips": [
            {
                "rank": chip.rank,
                "pid": chip.pid,
                "run": chip.run_id,
                "activity": sight.chips[chip.rank].status.activity.name.lower(),
                "waits_for": list(sight.chips[chip.rank].status.awaited),
                "calls": [_entry(e) for e in sight.chips[chip.rank].entries[-last:] if last],
            }
            for chip in mesh.chips
        ],
    }


def _look(mesh: FoundMesh) -> dict[int, Look]:
    """One look at every chip; one whose process has ended takes part in nothing any more."""
    looks = {}
    for chip in mesh.chips:
        look = look_at(chip.flight)
        looks[chip.rank] = look if chip.lives else Look(ChipStatus(Activity.CLOSED), look.entries)
    return looks


def _entry(entry: FlightEntry) -> dict[str, Any]:
    return {
        "call": entry.text,
        "number": entry.number,
        "sim_start_ps": entry.sim_start_ps,
        "wall_entered_s": entry.wall_entered_ns / 1e9,
    }


def _since(look: Look, now_ns: int) -> str:
    """For how long: a recorder notes the time of calls only."""
    ago = _ago(look.entries[-1], now_ns)
    waits = look.status.activity is Activity.WAITING
    return f"for {ago}" if waits else f"{ago} after its last call began"


def _line(entry: FlightEntry, now_ns: int) -> str:
    number = f"#{entry.number} " if entry.number >= 0 else ""
    sim = f"sim {entry.sim_start_ps / 1e6:.2f} us"
    return f"{number}{entry.text}, {_ago(entry, now_ns)} ago, {sim}"


def _ago(entry: FlightEntry, now_ns: int) -> str:
    return f"{max(0, now_ns - entry.wall_entered_ns) / 1e9:.1f} s"


def _chips(ranks: tuple[int, ...]) -> str:
    return f"chip{'s' if len(ranks) != 1 else ''} {', '.join(map(str, ranks))}"
