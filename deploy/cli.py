"""The meshtwin command: `meshtwin generate`, `bench`, `explain`, `calibrate`, ...

`main(argv)` parses and calls a function that anyone can import. Answers go to stdout, progress and
errors to stderr. Exit code 0 is done, 1 failed, 2 misused, 130 interrupted, 141 nobody reads.
"""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..chip.errors import MeshtwinError

COMMANDS = (
    "generate", "plan", "bench", "explain", "compare", "accuracy", "recorder", "memory", "pull",
    "boxes", "constants", "noc", "calibrate", "doctor", "sweep", "search",
)  # fmt: skip
"""Each is NAME_command.py here."""
EPILOG = """\
examples:
  meshtwin generate "The capital of France is"
  meshtwin generate "What is a mesh?" --chat --box galaxy --max-tokens 50
  meshtwin plan llama-3.1-8b
  meshtwin bench all_reduce --box quietbox2 --min 4K --max 64M
  meshtwin explain all_reduce --box galaxy --bytes 1M
  meshtwin compare --box quietbox2 --against one-chip
  meshtwin recorder
  meshtwin memory --model smollm2 --box quietbox2
  meshtwin boxes
  meshtwin constants --box galaxy
  meshtwin doctor
  meshtwin noc --pattern all-from-dram
  meshtwin pull smollm2 --dtype float32
  meshtwin sweep examples/scaling.toml
  meshtwin search --objective tokens_per_s --model llama-3.1-8b
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv` (default: the process's own) and return its exit code."""
    given = sys.argv[1:] if argv is None else argv
    args = parser(given[0] if given else "").parse_args(given)
    try:
        code: int = args.run(args)
        return code
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (MeshtwinError, OSError, ValueError) as error:
        return _failed(error, args.debug)
    except KeyboardInterrupt:
        print("meshtwin: interrupted", file=sys.stderr)
        return 130


def parser(command: str = "") -> argparse.ArgumentParser:
    """The whole command line; or, of what a command is asked, its part: that is quicker to make.

    Imports are most of the time that a short command takes, and few commands need Ray.
    """
    top = argparse.ArgumentParser(
        prog="meshtwin",
        description="Emulate a mesh of Tenstorrent chips, one Ray actor a chip, on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"meshtwin {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object for machines")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    for name in (command,) if command in COMMANDS else COMMANDS:
        import_module(f".{name}_command", __package__).add_to(commands, common)
    return top


def _failed(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    else:
        print(f"meshtwin: {type(error).__name__}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
