"""A test of one's own collective: an all_reduce made of sends and receives around the ring.

The fixture `mesh` comes with meshtwin: an open mesh of emulated chips, kept for the session.
Copy this file anywhere and run it with pytest; no conftest.py is needed.

    pytest test_my_collective.py

Output:

    ...
    3 passed in ...
"""

import numpy as np
import pytest

from meshtwin import MeshChip, MeshDevice, Replicate
from meshtwin.chip.tensor import Tensor

RING = (0, 1, 3, 2)  # the links of a QuietBox 2: each chip sends to the next one
RNG = np.random.default_rng(7)


def my_all_reduce(chip: MeshChip, x: Tensor) -> Tensor:
    """Pass every chip's values once around the ring, and add what comes."""
    place = RING.index(chip.rank)
    after, before = RING[(place + 1) % 4], RING[place - 1]
    total = passed = x
    for _ in range(len(RING) - 1):
        chip.send(passed, dst=after)
        passed = chip.recv(src=before)
        total = chip.add(total, passed)
    return total


def both(chip: MeshChip, x: Tensor) -> tuple[Tensor, Tensor, int, int]:
    """Ours, meshtwin's, and the simulated time of each."""
    begin_ps = chip.clock.now_ps
    ours = my_all_reduce(chip, x)
    chip.barrier()
    middle_ps = chip.clock.now_ps
    theirs = chip.all_reduce(x, algorithm="ring")
    return ours, theirs, middle_ps - begin_ps, chip.clock.now_ps - middle_ps


@pytest.mark.box("quietbox2")
@pytest.mark.parametrize("shape", [(4, 8), (4, 1000), (512, 256)])
def test_my_all_reduce_sums_and_is_slower(mesh: MeshDevice, shape: tuple[int, int]) -> None:
    values = RNG.integers(-8, 8, (4, *shape)).astype(np.float32)  # exact in any order
    x = mesh.shard(values.reshape(-1, shape[1]), dim=0)
    ours, theirs, our_ps, their_ps = mesh.run(both, x, out=Replicate())
    np.testing.assert_array_equal(mesh.to_numpy(ours), values.sum(axis=0))
    np.testing.assert_array_equal(mesh.to_numpy(theirs), values.sum(axis=0))
    assert max(their_ps) < max(our_ps)  # its chunks use all links at once
