"""`meshtwin generate`: text from a real model on an emulated box, with simulated time beside it."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..fabric.topology import load_box
from ..mesh.device import TRANSPORTS, open_mesh
from ..models.errors import ContextOverflow, TokenError
from ..models.generator import Generator
from ..models.hugging_face import read_config
from ..models.precision import Precision
from ..models.sampling import Sampling
from ..models.tokenizer import Tokenizer
from . import arguments
from .generate_summary import Answer, many_chips, show, summarise
from .pull import pull
from .reports import add_report_options, wants_reports, write_reports

DEFAULT_PROMPT = "The capital of France is"
EPILOG = """\
examples:
  meshtwin generate "Once upon a time" --max-tokens 40
  meshtwin generate "Why is the sky blue?" --chat --temperature 0.7 --top-p 0.9 --seed 1
  meshtwin generate "Hello" --model ./my-llama-folder --box galaxy --json
  meshtwin generate "Hello" --max-tokens 4 --trace run.perfetto-trace --perf-csv ops.csv
  meshtwin generate "The sea is" "Two and two make" "Once" --max-tokens 20
"""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "generate",
        parents=[common],
        help="generate text with a model cut over the chips of a box",
        description=(
            "Open a box of emulated chips, one Ray actor each, cut a Llama-like model over them "
            "and generate text. Wall times are of this machine, sim times of the emulated chips."
        ),
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "prompt",
        nargs="*",
        default=[DEFAULT_PROMPT],
        help=f"text to go on from ({DEFAULT_PROMPT!r}); several are decoded as one batch",
    )
    command.add_argument(
        "--model",
        default="smollm2",
        help="smollm2 (pulled at first use), a Hugging Face name (org/name) or a folder",
    )
    command.add_argument("--box", default="quietbox2", help="see `meshtwin boxes` (%(default)s)")
    command.add_argument("--chat", action="store_true", help="use the model's chat template")
    command.add_argument(
        "--max-tokens", type=_count, default=64, metavar="N", help="new tokens (%(default)s)"
    )
    command.add_argument(
        "--precision",
        "--dtype",
        type=arguments.precision,
        default="bfloat16",
        help=f"{arguments.PRECISION_HELP} (%(default)s)",
    )
    sampling = command.add_argument_group("sampling")
    sampling.add_argument(
        "--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default)"
    )
    sampling.add_argument("--top-k", type=int, default=0, metavar="K", help="0: no limit (default)")
    sampling.add_argument("--top-p", type=float, default=1.0, metavar="P", help="1: no limit")
    sampling.add_argument("--seed", type=int, default=0, help="same seed, same text (%(default)s)")
    command.add_argument("--address", help="a Ray cluster (auto, host:port); default: a local Ray")
    arguments.add_stack(command)
    command.add_argument(
        "--transport",
        choices=TRANSPORTS,
        default="auto",
        help="between chips (auto: shared memory on a host, ZeroMQ between hosts)",
    )
    add_report_options(command)
    command.set_defaults(run=run, misuse=command.error)


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate, checked before any chip is started."""

    folder: Path
    prompts: list[str]
    prompt_ids: list[list[int]]  # of each prompt
    max_tokens: int
    sampling: Sampling
    precision: Precision
    tokenizer: Tokenizer


def run(args: argparse.Namespace) -> int:
    """Generate, stream the text to stdout, then print what it took."""
    box, _ = load_box(args.box), _sampling(args)
    request = prepare(args)
    quiet = args.json
    _say(f"opening {box.name}: {many_chips(box.num_chips)}, one Ray actor each", quiet)
    with open_mesh(box, address=args.address, transport=args.transport, stack=args.stack) as mesh:
        _say(f"loading {request.folder}", quiet)
        generator = Generator(mesh, request.folder, request.precision)
        users = answer(generator, request, None if quiet else sys.stdout.write)
        result = summarise(args.model, generator, mesh.reports(), users)
        reports = write_reports(args, mesh.records()) if wants_reports(args) else []
    if quiet:
        print(json.dumps(result, indent=2))
    else:
        print("\n")
        show(result, Console())
    for line in reports:
        _say(line, quiet=False)
    return 0


def prepare(args: argparse.Namespace) -> Request:
    """Pull the model if need be, and check everything that can be checked without chips.

    Raises:
        ContextOverflow: the prompt and the new tokens do not fit the model's context.
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel: the folder is no model of ours.
        TokenError: the prompt is empty.
    """
    folder = pull(args.model, args.precision.checkpoint_dtype)
    config, tokenizer = read_config(folder), Tokenizer(folder)
    prompt_ids = []
    for prompt in args.prompt:
        if args.chat:
            prompt_ids.append(tokenizer.chat([{"role": "user", "content": prompt}]))
        else:
            prompt_ids.append(tokenizer.encode(prompt))
    for ids in prompt_ids:
        if not ids:
            raise TokenError("the prompt is empty: give at least one token")
        if len(ids) + args.max_tokens > config.max_position_embeddings:
            raise ContextOverflow(len(ids), args.max_tokens, config.max_position_embeddings)
    sampling, precision = _sampling(args), args.precision
    return Request(folder, args.prompt, prompt_ids, args.max_tokens, sampling, precision, tokenizer)


def answer(generator: Generator, request: Request, write: Any | None) -> list[Answer]:
    """Each prompt's text and what it took; a lone one is written as it comes, others at the end."""
    if len(request.prompts) == 1:
        text = stream(generator, request, write)
        return [Answer(text, generator.statistics)]
    answers = []
    batch = generator.generate_batch(request.prompt_ids, request.max_tokens, request.sampling)
    for prompt, user in zip(request.prompts, batch, strict=True):
        decoder = request.tokenizer.stream()
        text = "".join(map(decoder.push, user.token_ids)) + decoder.finish()
        if write is not None:
            write(f"> {prompt}\n{text}\n")
        answers.append(Answer(text, user))
    return answers


def stream(generator: Generator, request: Request, write: Any | None) -> str:
    """Generate for the one prompt and hand out the text as it comes; the whole of it."""
    decoder = request.tokenizer.stream()
    pieces = []
    (prompt_ids,) = request.prompt_ids
    for token in generator.generate(prompt_ids, request.max_tokens, request.sampling):
        pieces.append(decoder.push(token))
        if write is not None:
            write(pieces[-1])
            sys.stdout.flush()
    pieces.append(decoder.finish())
    if write is not None:
        write(pieces[-1])
    return "".join(pieces)


def _sampling(args: argparse.Namespace) -> Sampling:
    """The sampling asked for; a parameter out of its range is misuse: usage, and exit code 2."""
    try:
        return Sampling(args.temperature, args.top_k, args.top_p, args.seed)
    except ValueError as error:
        args.misuse(str(error))
        raise


def _say(text: str, quiet: bool) -> None:
    """Progress, on stderr."""
    if not quiet:
        print(f"meshtwin: {text}", file=sys.stderr)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tokens, 1 or more")
    return int(text)
