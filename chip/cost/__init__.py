"""How long an op takes on a chip, in simulated time: `CostModel` turns `Work` into a `Cost`."""

from .constants import DEFAULT_STACK, MODEL_STACK, check_stack, constants, stacks
from .model import Cost, CostModel
from .work import WORK_KINDS, Product, Work, WorkKind

__all__ = [
    "DEFAULT_STACK",
    "MODEL_STACK",
    "WORK_KINDS",
    "Cost",
    "CostModel",
    "Product",
    "Work",
    "WorkKind",
    "check_stack",
    "constants",
    "stacks",
]
