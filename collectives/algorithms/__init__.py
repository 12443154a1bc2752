"""The algorithms that come with meshtwin, in the order in which "auto" tries them."""

from ..algorithm import register
from .bidirectional_ring import bidirectional_ring
from .direct import direct
from .grid import grid
from .halving import halving
from .line import line
from .ring import ring
from .tree import tree

for _known in (ring, bidirectional_ring, line, grid, halving, tree, direct):
    register(_known)

__all__ = ["bidirectional_ring", "direct", "grid", "halving", "line", "ring", "tree"]
