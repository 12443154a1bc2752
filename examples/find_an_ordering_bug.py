"""Finding a bug that shows once in a while: a gather that takes messages as they come.

`explore` runs a program under many schedules, each made of a seed: who goes next, and whose
message arrives next. A bug comes back with its seed, and with the line that is at fault. Chips are
threads of this process, so nothing is opened and nothing is left behind.

    python find_an_ordering_bug.py

Output:

    seed 1, chip 0: the result[1] is 1.0, not 3.0 (as under seed 0)
      culprit: chip 0 took a message of chip 1 in recv_any at find_an_ordering_bug.py:43,
        its receive number 2; under seed 0 that was one of chip 3
      replay: explore(program, seeds=[0, 1])
      the last events before it:
      step 1, chip 2: sends message 0 to chip 0 (... bytes)
      step 2, chip 3: sends message 0 to chip 0 (... bytes)
      step 3, chip 3: ends its program
      step 4, chip 0: message 0 of chip 2 arrives
      step 5, chip 1: sends message 0 to chip 0 (... bytes)
      step 6, chip 2: ends its program
      step 7, chip 1: ends its program
      step 8, chip 0: message 0 of chip 1 arrives
      step 9, chip 2: passes on message 0 of chip 3 to 0
      step 11, chip 0: message 0 of chip 3 arrives
      step 12, chip 0: takes message 0 of chip 2 in recv_any at find_an_ordering_bug.py:43
      step 13, chip 0: takes message 0 of chip 1 in recv_any at find_an_ordering_bug.py:43
    mended: [1.0, 2.0, 3.0] under 199 different schedules
"""

import numpy as np

from meshtwin import MeshChip
from meshtwin.mesh.errors import ExplorationFailure
from meshtwin.mesh.explore import explore


def gather_by_arrival(chip: MeshChip) -> list[float] | None:
    """The bug: chip 0 believes that messages come in the order of the chips."""
    if chip.rank:
        chip.send(chip.tensor(np.array([chip.rank], np.float32)), dst=0)
        return None
    return [float(chip.recv().to_numpy()[0]) for _ in range(1, chip.num_chips)]


def gather_by_sender(chip: MeshChip) -> list[float] | None:
    """The same, mended: chip 0 asks each chip in turn."""
    if chip.rank:
        chip.send(chip.tensor(np.array([chip.rank], np.float32)), dst=0)
        return None
    return [float(chip.recv(src).to_numpy()[0]) for src in range(1, chip.num_chips)]


if __name__ == "__main__":
    try:
        explore(gather_by_arrival, "quietbox2")
    except ExplorationFailure as failure:
        print(failure)
    report = explore(gather_by_sender, "quietbox2")
    print(f"mended: {report.results[0]} under {report.num_schedules} different schedules")
