"""A chip of a box in plan mode: its tensors have no values, its collectives no other chips."""

import math

from ..chip.cost import DEFAULT_STACK, CostModel
from ..chip.spec import ChipSpec, load_product
from ..collectives.communicator import Communicator
from ..fabric.topology import Box
from .program import MeshChip


def plan_chip(
    box: Box, rank: int = 0, spec: ChipSpec | None = None, stack: str = DEFAULT_STACK
) -> MeshChip:
    """Chip `rank` of a box, for shapes, simulated time and memory only.

    In its collectives the other chips are taken to run the same program on the same shapes: see
    Communicator.

    Args:
        spec: of the chip, where it is not that of the box.
        stack: see `CostModel`.
    """
    found = spec or load_product(box.product)
    chip = MeshChip(found, rank, plan=True, cost=CostModel(found, stack))
    chip.box, chip.communicator = box, Communicator(box, rank, None, math.inf)
    return chip
