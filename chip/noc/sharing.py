"""How transfers that move at once share links: max-min fair, in whole picoseconds.

Rates rise together until a resource is full; the transfers that cross it keep what they have, the
others go on rising. Whenever one starts to stream or ends, rates are dealt anew. Buffers, virtual
channels and packets that block one another are not modelled: many flows that cross get less on
hardware than here (docs/noc.md has the figures).
"""

from collections.abc import Sequence

from ..units import PS_PER_S
from .transfer import Resource, Transfer


def finish_times(transfers: Sequence[Transfer]) -> list[int]:
    """When each is done, if all start at time 0: simulated picoseconds, in the order given."""
    starts = sorted(range(len(transfers)), key=lambda i: transfers[i].sim_startup_ps, reverse=True)
    left: dict[int, int] = {}  # bytes times PS_PER_S, so that rates in bytes a second divide time
    done = [0] * len(transfers)
    now = 0
    while starts or left:
        if not left:
            now = transfers[starts[-1]].sim_startup_ps
        while starts and transfers[starts[-1]].sim_startup_ps <= now:
            i = starts.pop()
            left[i] = transfers[i].num_bytes * PS_PER_S
        rates = fair_rates({i: transfers[i] for i in left})
        step = min(-(-amount // rates[i]) for i, amount in left.items())
        if starts:
            step = min(step, transfers[starts[-1]].sim_startup_ps - now)
        now += step
        for i in list(left):
            left[i] -= rates[i] * step
            if left[i] <= 0:
                done[i] = now
                del left[i]
    return done


def fair_rates(transfers: dict[int, Transfer]) -> dict[int, int]:
    """Max-min fair rates in bytes a second. Of equally full resources the first named counts."""
    users: dict[Resource, list[int]] = {}
    free: dict[Resource, int] = {}
    for i, transfer in transfers.items():
        for resource, capacity in transfer.capacities:
            users.setdefault(resource, []).append(i)
            free[resource] = capacity
    count = {resource: len(crossing) for resource, crossing in users.items()}
    slowest = sorted(transfers, key=lambda i: transfers[i].rate_bytes_per_s, reverse=True)
    rates: dict[int, int] = {}
    while slowest:
        if slowest[-1] in rates:
            slowest.pop()
            continue
        fullest = min(count, key=lambda resource: free[resource] // count[resource])
        share = free[fullest] // count[fullest]
        own = transfers[slowest[-1]].rate_bytes_per_s
        settled = users[fullest] if share < own else [slowest.pop()]
        for i in settled:
            if i in rates:
                continue
            rates[i] = min(share, own)
            for resource, _ in transfers[i].capacities:
                free[resource] -= rates[i]
                count[resource] -= 1
                if not count[resource]:
                    del count[resource]
    return rates
