"""`meshtwin plan`: what a model reaches on a box, and where the time goes, without a run."""

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.console import Console

from ..chip.errors import OutOfMemory
from ..fabric.topology import load_box
from ..models.model_plan import plan_model
from ..models.plan import Deployment
from ..models.plan_fit import nearest_fits, needed_memory
from . import arguments
from .plan_text import show, show_unfit
from .plan_values import unfit_values, values
from .reports import add_report_options, planned_chips, wants_reports, write_reports
from .what_if import (
    add_sensitivity_option,
    add_set_options,
    scenario_of,
    sensitivities,
    sensitivity_table,
)

DESCRIPTION = """\
Plan a model on a box: time to the first token, tokens a second, memory, and the ops of a decode
step and of a prefill with what each is bound by. The model's own code runs on tensors without
values, one chip for all: no weight is read, nothing is computed. All times are simulated. Exit code
1 if it does not fit; then it says what would. docs/plan.md describes the tables.
"""
EPILOG = """\
examples:
  meshtwin plan llama-3.1-8b
  meshtwin plan --model llama-3.1-70b --box galaxy --tp 8 --dp 4 --batch 32
  meshtwin plan ./my-model/config.json --box p150 --trace plan.perfetto-trace
  meshtwin plan llama-3.1-8b --set link.gbps=200 --set slow_chip=3:0.8 --sensitivity
"""
TOP = 12
"""Rows of a table of ops, unless told otherwise."""


def add_to(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "plan",
        parents=[common],
        help="what a model reaches on a box, and where the time goes",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    number = arguments.at_least(1)
    model = command.add_mutually_exclusive_group(required=True)
    model.add_argument(
        "name", nargs="?", metavar="MODEL",
        help="a name of the catalogue, a Hugging Face folder, or a config.json",
    )  # fmt: skip
    model.add_argument("--model", help="the same")
    command.add_argument(
        "--box", type=arguments.box, default="quietbox2", help="see `meshtwin boxes` (%(default)s)"
    )
    command.add_argument(
        "--tp", type=number, metavar="N", help="chips of a replica (the box's, over the replicas)"
    )
    command.add_argument("--dp", type=number, default=1, help="replicas (%(default)s)")
    command.add_argument(
        "--batch", type=number, metavar="N", help="users of all replicas (one for each replica)"
    )
    command.add_argument("--prompt", type=number, default=128, help="tokens (%(default)s)")
    command.add_argument("--output", type=number, default=128, help="tokens (%(default)s)")
    command.add_argument(
        "--precision",
        type=arguments.precision,
        default="performance",
        help=f"{arguments.PRECISION_HELP} (%(default)s)",
    )
    arguments.add_stack(command)
    add_set_options(command)
    add_sensitivity_option(command)
    command.add_argument("--no-ops", action="store_true", help="leave out the tables of ops")
    command.add_argument(
        "--top", type=number, default=TOP, metavar="N",
        help="rows of a table, the longest ops first (%(default)s; --json has all)",
    )  # fmt: skip
    add_report_options(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Plan, and print what was found; exit code 1 when it does not fit."""
    name = args.model or args.name
    box = load_box(args.box) if isinstance(args.box, str) else args.box
    deployment = Deployment.of(
        name, box, args.tp, args.dp, args.batch, args.prompt, args.output, args.precision,
        args.stack, scenario_of(args, box, args.stack),
    )  # fmt: skip
    try:
        plan = plan_model(deployment)
    except OutOfMemory as error:
        return _unfit(args, name, deployment, error)
    found = sensitivities(deployment) if args.sensitivity else []
    if args.json:
        told = values(name, plan, not args.no_ops)
        if args.sensitivity:
            told["sensitivities"] = [asdict(one) for one in found]
        print(json.dumps(told, indent=2))
    else:
        show(name, plan, 0 if args.no_ops else args.top)
        if args.sensitivity:
            print("\nif one constant were another, TTFT and a decode step would take so much more:")
            Console().print(sensitivity_table(found, args.top))
    if wants_reports(args):
        for line in write_reports(args, planned_chips(plan.box, plan.records)):
            print(f"meshtwin: {line}", file=sys.stderr)
    return 0


def _unfit(args: argparse.Namespace, name: str, deployment: Deployment, error: OutOfMemory) -> int:
    needed, alternatives = needed_memory(deployment), nearest_fits(deployment)
    if args.json:
        print(json.dumps(unfit_values(name, deployment, needed, error, alternatives), indent=2))
    else:
        show_unfit(name, deployment, needed, error, alternatives)
    return 1
