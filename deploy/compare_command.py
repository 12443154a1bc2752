"""`meshtwin compare`: a model beside a reference, op by op, and the first wrong number."""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..chip.compute_config import ComputeConfig, Fidelity
from ..chip.errors import InvalidArgument
from ..chip.figures import Bound
from ..mesh.compare import OneChip, Reference, compare
from ..mesh.comparison import Comparison, Finding, describe, plain_finding
from ..mesh.device import MeshDevice, open_mesh
from ..models import programs
from ..models.config import DecoderConfig
from ..models.errors import ContextOverflow, TokenError
from ..models.hugging_face import read_config
from ..models.precision import Precision
from ..models.tokenizer import Tokenizer
from . import arguments
from .generate_command import DEFAULT_PROMPT
from .pull import pull

FLOAT32, ONE_CHIP = "float32", "one-chip"
REFERENCES = (FLOAT32, ONE_CHIP)
DESCRIPTION = """\
Run the prefill of a prompt with a reference beside it and compare every op on every chip: PCC
(Pearson's correlation), largest absolute error, largest error in ULPs of the output's format, and
relative RMS; against float32 also what each op loses by itself (own RMS). Then say which op on
which chip is the first out of bounds, and whether its inputs were fine.

  --against float32   every op again in float32, from float32 shadows of its inputs: shows where
                      number formats lose accuracy; sees no wrong weight, as shadows start from it
  --against one-chip  the same model, not cut, on one chip in this process: names the chip whose
                      part of a weight is wrong
  --against FOLDER    another checkpoint of the same shape (known-good weights), run first on the
                      same chips and paired op by op
"""
EPILOG = """\
exit code: 0 when all is within the bounds, 1 when not (or on an error)

examples:
  meshtwin compare --model smollm2 --box quietbox2 --dtype bf16
  meshtwin compare --box galaxy --against one-chip --prompt "Once upon a time"
  meshtwin compare --fidelity LoFi --every-chip
  meshtwin compare --bound-pcc 0.9999 --ops          # a row for every op, its worst chip
  meshtwin compare --model ./mine --against ./good --json
"""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "compare",
        parents=[common],
        help="find the first wrong number of a model: op, chip and layer",
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
        "--precision", "--dtype", type=arguments.precision, default="bfloat16",
        help=f"{arguments.PRECISION_HELP} (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--fidelity", type=fidelity, metavar="FIDELITY",
        help="of linear layers and attention: LoFi, HiFi2, HiFi3 or HiFi4 (whole operands)",
    )  # fmt: skip
    command.add_argument(
        "--against", type=_reference, default=FLOAT32, metavar="REFERENCE",
        help="float32, one-chip or a folder: see above (%(default)s)",
    )  # fmt: skip
    command.add_argument(
        "--prompt", default=DEFAULT_PROMPT, help="text whose prefill is compared (%(default)r)"
    )
    bounds = command.add_argument_group("bounds")
    bounds.add_argument(
        "--bound-pcc", type=float, default=0.99, metavar="PCC", help="the least (%(default)s)"
    )
    bounds.add_argument(
        "--bound-rms", type=float, default=0.3, metavar="R",
        help="the largest relative RMS, which sees a factor as PCC does not (%(default)s)",
    )  # fmt: skip
    bounds.add_argument(
        "--bound-ulps", type=arguments.at_least(0), metavar="N", help="the most ULPs (any)"
    )
    shown = command.add_mutually_exclusive_group()
    shown.add_argument(
        "--ops", action="store_true", help="a row for every op, not for every layer: its worst chip"
    )
    shown.add_argument("--every-chip", action="store_true", help="a row for every op and chip")
    command.add_argument("--address", help="a Ray cluster (auto, host:port); default: a local Ray")
    command.set_defaults(run=run, misuse=command.error)


@dataclass(frozen=True, slots=True)
class Request:
    """What to compare, checked before any chip is started."""

    folder: Path
    config: DecoderConfig
    precision: Precision
    prompt_ids: list[int]
    against: str
    compute: ComputeConfig | None


def run(args: argparse.Namespace) -> int:
    """Print the table and the finding, or with --json one object; 1 when something is found."""
    bound, request = _bound(args), prepare(args)
    _say(f"opening {args.box.name}: {args.box.num_chips} chips, one Ray actor each")
    with open_mesh(args.box, address=args.address) as mesh:
        comparison = compare_model(mesh, request)
    finding = comparison.first_break(bound)
    if args.json:
        found = None if finding is None else plain_finding(finding)
        print(json.dumps({"finding": found, **comparison.as_dict()}, indent=2))
    else:
        rows = "chips" if args.every_chip else "ops" if args.ops else "scopes"
        comparison.print(bound=bound, rows=rows)
        print(f"\n{verdict(comparison, finding, bound)}")
    return int(finding is not None)


def prepare(args: argparse.Namespace) -> Request:
    """Pull the model if need be, and check everything that can be checked without chips.

    Raises:
        ContextOverflow: the prompt does not fit the model's context.
        CheckpointNotFound, CorruptCheckpoint, UnsupportedModel: a folder is no model of ours.
        TokenError: the prompt is empty.
        InvalidArgument: the two checkpoints are not of the same shape.
    """
    folder = pull(args.model, args.precision.checkpoint_dtype)
    config = read_config(folder)
    prompt_ids = Tokenizer(folder).encode(args.prompt)
    if not prompt_ids:
        raise TokenError("the prompt is empty: give at least one token")
    if len(prompt_ids) > config.max_position_embeddings:
        raise ContextOverflow(len(prompt_ids), 0, config.max_position_embeddings)
    against = args.against
    if against not in REFERENCES:
        good = pull(against, args.precision.checkpoint_dtype)
        _check_alike(config, read_config(good), against)
        against = str(good)
    return Request(folder, config, args.precision, prompt_ids, against, args.fidelity)


def compare_model(mesh: MeshDevice, request: Request) -> Comparison:
    """Load the model, and the reference if it has weights of its own, and compare a prefill."""
    ids, precision, config = request.prompt_ids, request.precision, request.config
    _say(f"loading {request.folder}")
    model = str(request.folder), config, precision
    decoder = mesh.run(programs.load, *model, request.compute, keep=True)
    reference: Reference | OneChip | None = None
    if request.against == ONE_CHIP:
        _say("and for the reference the whole of it, on one chip in this process")
        reference = OneChip(programs.load_and_prefill, *model, ids, request.compute)
    elif request.against != FLOAT32:
        _say(f"loading {request.against}, the reference")
        compute = request.compute
        good = mesh.run(programs.load, request.against, config, precision, compute, keep=True)
        reference = Reference(programs.all_logits, good, ids)
    _say(f"comparing {config.num_layers} layers over {len(ids)} tokens on {mesh.num_chips} chips")
    return compare(mesh, programs.all_logits, decoder, ids, reference=reference)


def verdict(comparison: Comparison, finding: Finding | None, bound: Bound) -> str:
    """The answer in words."""
    lossiest = comparison.lossiest()
    most = (
        ""
        if lossiest is None
        else f"\nloses most by itself: {lossiest.where} on chip {lossiest.chip}: "
        f"{describe(lossiest.own)}"
    )
    if finding is not None:
        return str(finding) + most
    judged = {row.ordinal for row in comparison.rows if row.judged}
    return f"{len(judged)} ops on {comparison.num_chips} chips: all within bounds ({bound}){most}"


def _check_alike(own: DecoderConfig, good: DecoderConfig, name: str) -> None:
    for field in ("num_layers", "hidden_size", "intermediate_size", "num_heads", "num_kv_heads"):
        mine, theirs = getattr(own, field), getattr(good, field)
        if mine != theirs:
            raise InvalidArgument(
                f"--against {name}: {field} is {theirs}, but {mine} in the model: the reference "
                "must be a checkpoint of the same shape"
            )


def _bound(args: argparse.Namespace) -> Bound:
    """The bound asked for; one out of its range is misuse: usage, and exit code 2."""
    try:
        return Bound(args.bound_pcc, args.bound_ulps, args.bound_rms)
    except InvalidArgument as error:
        args.misuse(str(error))
        raise


def fidelity(text: str) -> ComputeConfig:
    """A config of that fidelity."""
    try:
        return ComputeConfig(Fidelity.parse(text))
    except InvalidArgument as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _reference(text: str) -> str:
    """float32, one-chip, or what looks like a folder or a name of the hub."""
    if "/" in text or Path(text).is_dir():
        return text
    return arguments.one_of("reference", REFERENCES)(text)


def _say(text: str) -> None:
    """Progress, on stderr."""
    print(f"meshtwin: {text}", file=sys.stderr)
