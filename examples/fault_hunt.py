"""What a broken link does to a collective: the same values later, or an error that names the link.

The same all_reduce on four chips in a ring: with all links, with one that loses packets (they are
sent again), with one cut and traffic rerouted, and with one cut and nothing done about it. A fault
plan is a pure function of its events and its seed, so times and errors are the same on every run.

    python fault_hunt.py

Output:

    healthy    18.39 us (simulated), right: True
    flaky      21.13 us (simulated), right: True
    rerouted   22.32 us (simulated), right: True
    strict    LinkDown: the link from chip 1 to chip 0 is down at 4.565 us (simulated), needed by
      chip 1 for chip 0 (direct all_reduce, chunk 0); policy="reroute" would go round it
"""

import numpy as np

from meshtwin import MeshChip, Replicate, open_mesh
from meshtwin.chip.tensor import Tensor
from meshtwin.fabric.errors import LinkDown
from meshtwin.fabric.fault_events import LinkCut, LinkFlaky
from meshtwin.fabric.faults import FaultPlan

CUT = LinkCut((0, 1))  # from the start; LinkCut((0, 1), at_ps=...) for later
PLANS = {
    "healthy": None,
    "flaky": FaultPlan((LinkFlaky((0, 1), drop=0.02, corrupt=0.01),), seed=1),
    "rerouted": FaultPlan((CUT,), policy="reroute"),
    "strict": FaultPlan((CUT,), policy="strict"),
}
VALUES = np.random.default_rng(3).integers(-9, 9, (4, 65536)).astype(np.float32)


def program(chip: MeshChip, x: Tensor) -> Tensor:
    """What runs on every chip."""
    return chip.all_reduce(x)


def hunt(name: str, faults: FaultPlan | None) -> None:
    """Run the program on a mesh with these faults, and say what came of it."""
    with open_mesh("quietbox2", faults=faults) as mesh:
        x = mesh.shard(VALUES, dim=0)
        try:
            y = mesh.run(program, x, out=Replicate())
        except LinkDown as error:
            print(f"{name:9} {type(error).__name__}: {error}")
            return
        is_right = np.array_equal(mesh.to_numpy(y)[0], VALUES.sum(axis=0))
        print(f"{name:9} {mesh.sim_now_ps / 1e6:6.2f} us (simulated), right: {is_right}")


if __name__ == "__main__":
    for name, faults in PLANS.items():
        hunt(name, faults)
