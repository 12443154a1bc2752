"""The two networks on a chip: routes, what transfers cost alone, and how they share links."""

from .costs import NocCosts, load_noc_costs
from .noc import Noc, traffic
from .routes import Link
from .transfer import Transfer

__all__ = ["Link", "Noc", "NocCosts", "Transfer", "load_noc_costs", "traffic"]
