"""A chip of a box in plan mode: its tensors have no values, its collectives no other chips."""

import math

from ..collectives.communicator import Communicator
from ..fabric.topology import Box
from .program import MeshChip
from .scenario import Scenario


def plan_chip(box: Box, rank: int = 0, scenario: Scenario | None = None) -> MeshChip:
    """Chip `rank` of a box, for shapes, simulated time and memory only.

    In its collectives the other chips are taken to run the same program on the same shapes (see
    Communicator); a slow chip's program is the one that is planned (see Scenario).

    Args:
        scenario: what is changed of the box, and the stack; None: nothing, and bare ops.
    Raises:
        ValueError: the scenario is of another box.
    """
    if scenario is None:
        scenario = Scenario.of(box)
    elif scenario.base != box:
        raise ValueError(f"scenario (={scenario.name}) must be of the box (={box.name})")
    chip = MeshChip(scenario.chip, rank=rank, plan=True, cost=scenario.cost_model())
    chip.box = scenario.box
    costs = scenario.collective_costs
    chip.communicator = Communicator(chip.box, rank, None, math.inf, costs=costs)
    return chip
