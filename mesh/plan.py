"""A chip of a box in plan mode: its tensors have no values, its collectives no other chips."""

import math

from ..collectives.communicator import Communicator
from ..fabric.topology import Box
from .program import MeshChip


def plan_chip(box: Box, rank: int = 0) -> MeshChip:
    """Chip `rank` of a box, for shapes, simulated time and memory only.

    In its collectives all chips are taken to arrive together, as they do when they run the same
    program on the same shapes.
    """
    chip = MeshChip.open(box.product, rank=rank, plan=True)
    chip.box, chip.communicator = box, Communicator(box, rank, None, math.inf)
    return chip
