"""Why an algorithm is chosen: what each one costs on the links of a box."""

from dataclasses import dataclass

from ..fabric.fate import Link
from ..fabric.topology import Box
from .call import Call
from .choose import candidates
from .plan import Plan
from .verify import verify

MOST_WORDS = 8  # messages drawn of a round


@dataclass(frozen=True, slots=True)
class Explanation:
    """What one algorithm makes of a call. Simulated times in picoseconds; None: it cannot do it."""

    algorithm: str
    sim_ps: int | None
    num_rounds: int
    num_messages: int
    most_hops: int
    num_channels: int
    busiest_link: Link | None
    busiest_link_bytes: int
    sim_busiest_link_ps: int
    plan: Plan | None
    why_not: str = ""


def explain(box: Box, call: Call) -> list[Explanation]:
    """Every registered algorithm of the call's operation, the quickest first; each is verified.

    Raises:
        ScheduleError: an algorithm's schedule is wrong; says how.
        ChunkError, CollectiveError: the call is wrong whatever the algorithm.
    """
    rank = call.ranks[0]
    found = []
    for candidate in candidates(box, rank, call):
        plan = candidate.plan
        if plan is None:
            name = candidate.algorithm.name
            found.append(Explanation(name, None, 0, 0, 0, 0, None, 0, 0, None, candidate.why_not))
            continue
        proof = verify(plan.schedule, box, plan.order)
        carried = link_bytes(plan)
        link = max(carried, key=lambda link: (carried[link], -link[0], -link[1]), default=None)
        num_bytes = 0 if link is None else carried[link]
        found.append(
            Explanation(
                candidate.algorithm.name,
                candidate.sim_ps,
                proof.num_rounds,
                _num_messages(plan),
                proof.most_hops,
                proof.num_channels,
                link,
                num_bytes,
                0 if link is None else box.link.transfer_ps(num_bytes, box.num_links(*link)),
                plan,
            )
        )
    return found


def reason(choices: list[Explanation]) -> str:
    """In a sentence, why the first one is chosen."""
    able = [choice for choice in choices if choice.sim_ps is not None]
    if not able:
        return "no registered algorithm can do this call on these chips"
    best = able[0]
    assert best.sim_ps is not None
    bound = _bound(best)
    if len(able) == 1:
        return f"{best.algorithm}: the only algorithm for it; {bound}"
    second = able[1]
    assert second.sim_ps is not None
    times = second.sim_ps / best.sim_ps if best.sim_ps else 1.0
    return (
        f"{best.algorithm}: {times:.2f} times as quick as {second.algorithm}, with "
        f"{best.num_rounds} rounds instead of {second.num_rounds} and "
        f"{best.busiest_link_bytes:,} B over the busiest link instead of "
        f"{second.busiest_link_bytes:,}; {bound}"
    )


def drawing(plan: Plan, most_rounds: int = 12) -> list[str]:
    """The rounds in text: who sends which chunks to whom; `+` marks those that are added."""
    lines = []
    for number, steps in enumerate(plan.schedule.rounds[:most_rounds]):
        carried: dict[tuple[int, int, str], list[int]] = {}
        for step in steps:
            sign = "+" if step.kind.value == "reduce" else ""
            carried.setdefault((step.src, step.dst, sign), []).append(step.chunk)
        words = [
            f"{plan.order[src]}->{plan.order[dst]} {sign}{_brief(chunks)}"
            for (src, dst, sign), chunks in carried.items()
        ]
        more = f"  and {len(words) - MOST_WORDS} more" if len(words) > MOST_WORDS else ""
        lines.append(f"round {number:>2}: " + "  ".join(words[:MOST_WORDS]) + more)
    left = len(plan.schedule.rounds) - most_rounds
    return [*lines, f"... and {left} more rounds"] if left > 0 else lines


def link_bytes(plan: Plan) -> dict[Link, int]:
    """Bytes over each directed link in the whole collective."""
    total: dict[Link, int] = {}
    for sent in plan.traffic_of_all:
        for link, (num_bytes, _) in sent.items():
            total[link] = total.get(link, 0) + num_bytes
    return total


def _num_messages(plan: Plan) -> int:
    return sum(
        len({(step.src, step.dst) for step in steps if plan.chunk_bytes[step.chunk]})
        for steps in plan.schedule.rounds
    )


def _bound(best: Explanation) -> str:
    """What most of the time goes into."""
    assert best.sim_ps is not None and best.plan is not None
    if 2 * best.sim_busiest_link_ps >= best.sim_ps:
        share = 100 * best.sim_busiest_link_ps / best.sim_ps
        return f"bandwidth-bound: its busiest link is busy {share:.0f} % of the time"
    startup = best.plan.costs.startup_ps
    return (
        f"latency-bound: start-up {startup / 1e6:.2f} us and {best.num_rounds} rounds of latency, "
        f"the busiest link is busy {100 * best.sim_busiest_link_ps / max(1, best.sim_ps):.0f} %"
    )


def _brief(chunks: list[int]) -> str:
    if len(chunks) > 2 and chunks == list(range(chunks[0], chunks[0] + len(chunks))):
        return f"c{chunks[0]}..{chunks[-1]}"
    return ",".join(f"c{chunk}" for chunk in chunks)
