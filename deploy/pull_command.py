"""`meshtwin pull`: put a model into the cache folder."""

import argparse
import json
from typing import Any

from .catalogue import CATALOGUE
from .pull import pull


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    known = ", ".join(CATALOGUE)
    command = commands.add_parser(
        "pull",
        parents=[common],
        help="download a model into the cache folder",
        description=(
            f"Download a model once: a name of the catalogue ({known}), a name of the Hugging "
            "Face hub (org/name), or check a folder. Prints the folder. The cache folder is "
            "$MESHTWIN_CACHE, else $XDG_CACHE_HOME/meshtwin, else ~/.cache/meshtwin."
        ),
    )
    command.add_argument("model", help=f"{known}, org/name, or a folder")
    command.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="weights of a catalogue model (default: bfloat16)",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Pull the model and print its folder."""
    folder = pull(args.model, args.dtype)
    print(json.dumps({"model": args.model, "folder": str(folder)}) if args.json else folder)
    return 0
