"""A sweep in Python: how long an all_reduce takes, over boxes and sizes.

    meshtwin sweep collective_sweep.py --local --png
    python collective_sweep.py

Output:

    collective_sweep: 24 points, 0 failed
      .../collective_sweep-results/results.csv
      .../collective_sweep-results/about.json
    ...
    quietbox2 65536 direct 14.88 us (simulated)
"""

import csv
from pathlib import Path

from meshtwin.chip.dtype import DType
from meshtwin.collectives.call import Call
from meshtwin.collectives.explain import explain
from meshtwin.collectives.group import group_of
from meshtwin.collectives.operation import Operation
from meshtwin.deploy.cli import main
from meshtwin.fabric.topology import load_box

grid = {
    "box": ["p300", "quietbox2", "loudbox"],
    "num_bytes": [2**power for power in range(10, 26, 2)],
}
charts = [("num_bytes", "sim_all_reduce_us"), ("num_bytes", "sim_busbw_GB_per_s")]


def point(box: str, num_bytes: int) -> dict[str, object]:
    """The quickest algorithm for one size on one box."""
    where = load_box(box)
    group = group_of(where, 0, None)
    shape = (num_bytes // DType.BFLOAT16.itemsize,)
    call = Call(Operation.ALL_REDUCE, shape, DType.BFLOAT16, group.ranks, group.where)
    possible = [choice for choice in explain(where, call) if choice.sim_ps is not None]
    best = min(possible, key=lambda choice: choice.sim_ps or 0)
    chips = len(group.ranks)
    sim_us = (best.sim_ps or 0) / 1e6
    busbw = 2 * (chips - 1) / chips * num_bytes / sim_us / 1e3
    return {"algorithm": best.algorithm, "sim_all_reduce_us": sim_us, "sim_busbw_GB_per_s": busbw}


if __name__ == "__main__":
    main(["sweep", __file__, "--local"])
    results = Path(__file__).with_name("collective_sweep-results") / "results.csv"
    with results.open() as file:
        rows = list(csv.DictReader(file))
    row = next(r for r in rows if r["box"] == "quietbox2" and r["num_bytes"] == "65536")
    sim_us = float(row["sim_all_reduce_us"])
    print(row["box"], row["num_bytes"], row["algorithm"], f"{sim_us:.2f} us (simulated)")
