"""What if: changes of a box as NAME=VALUE, and which constant moves a plan the most."""

import argparse
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from rich.table import Table

from ..chip.cost import DEFAULT_STACK
from ..fabric.topology import Box
from ..mesh.errors import UnknownSetting, WrongSetting
from ..mesh.scenario import Scenario
from ..mesh.settings import Setting
from ..models.plan import Deployment, PlannedReplica

STEP = 1.1
"""A constant is moved up by a tenth, a count by one at least; down where it cannot go up."""


def add_set_options(parser: argparse.ArgumentParser) -> None:
    """Add --set, which `scenario_of` reads."""
    parser.add_argument(
        "--set", dest="changes", action="append", default=[], metavar="NAME=VALUE", type=_change,
        help="change a constant, such as link.gbps=200, chip.clock_mhz=1000, dram.gb_per_s=768, "
        "cost.dispatch_gap_us=0.5, slow_link=3-7:0.25 or slow_chip=5:0.8; may be given again; "
        "`meshtwin constants` lists them",
    )  # fmt: skip
    parser.set_defaults(wrong_change=parser.error)


def add_sensitivity_option(parser: argparse.ArgumentParser) -> None:
    """Add --sensitivity: whether to print `sensitivities`."""
    parser.add_argument(
        "--sensitivity", action="store_true",
        help="which constant moves the plan the most: each a tenth up, one at a time",
    )  # fmt: skip


def scenario_of(args: argparse.Namespace, box: Box, stack: str = DEFAULT_STACK) -> Scenario:
    """The box with the changes of --set; what is wrong with one ends the program, as misuse."""
    try:
        return Scenario.of(box, args.changes, stack)
    except (UnknownSetting, WrongSetting) as error:
        args.wrong_change(f"argument --set: {error}")
        raise


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=VALUE, as link.gbps=200")
    return name.strip(), value.strip()


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What one constant does to a plan, all others being equal.

    Changes are relative (0.1: a tenth slower); elasticity is the change of a time's logarithm by
    that of the constant's: 1 where the time grows in proportion to it, -1 where it falls so.

    Attributes:
        value, changed: the constant as it is, and as it was tried.
    """

    name: str
    unit: str
    value: float
    changed: float
    sim_ttft_change: float
    sim_step_change: float
    sim_ttft_elasticity: float
    sim_step_elasticity: float

    @property
    def weight(self) -> float:
        """The larger of both elasticities, without sign."""
        return max(abs(self.sim_ttft_elasticity), abs(self.sim_step_elasticity))


def times_ps(deployment: Deployment) -> tuple[int, int]:
    """Simulated time of a prompt in one pass, and of a decode step in the middle of the output."""
    replica = PlannedReplica(deployment)
    prefill = replica.prefill()
    return prefill.sim_ps, replica.decode(deployment.positions[1]).sim_ps


def sensitivities(
    deployment: Deployment, times: Callable[[Deployment], tuple[int, int]] = times_ps
) -> list[Sensitivity]:
    """What every constant does to a plan, the one that moves it most first.

    Args:
        deployment: with its scenario, if it has one: the changes are made to that.
        times: simulated time to the first token, and of a decode step, both in ps.
    Raises:
        OutOfMemory: the model does not fit.
    """
    scenario = deployment.conditions
    before = times(deployment)
    found = []
    for setting in scenario.settings.values():
        value, changed = float(setting.constant.value), _moved(setting)
        if changed is None:
            continue
        after = times(replace(deployment, scenario=scenario.but(setting.name, changed)))
        ttft, step = (new / old for new, old in zip(after, before, strict=True))
        scale = math.log(changed / value)
        found.append(
            Sensitivity(
                setting.name, setting.constant.unit, value, changed, ttft - 1, step - 1,
                math.log(ttft) / scale + 0.0, math.log(step) / scale + 0.0,  # never -0.0
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.weight, one.name))


LEAST = 0.005
"""Elasticities below this are not worth a row."""


def sensitivity_table(found: Iterable[Sensitivity], most: int, least: float = LEAST) -> Table:
    """The constants that matter, as a table.

    Args:
        most: rows at most.
        least: of the larger elasticity: others are left out.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("constant", "is", "tried", "TTFT", "step"):
        table.add_column(title, justify="left" if title == "constant" else "right", no_wrap=True)
    shown = [one for one in found if one.weight >= least]
    for one in shown[:most]:
        table.add_row(
            one.name, f"{one.value:g}", f"{one.changed:g}",
            f"{one.sim_ttft_change:+.2%}", f"{one.sim_step_change:+.2%}",
        )  # fmt: skip
    return table


def _moved(setting: Setting) -> float | None:
    """The value to try; None for what is zero, and so cannot be moved by a share."""
    value = float(setting.constant.value)
    up, down = value * STEP, value / STEP
    if setting.range.is_whole:
        step = max(1, round(up - value))
        up, down = value + step, value - step
    return next((v for v in (up, down) if value > 0 and v > 0 and setting.range.has(v)), None)
