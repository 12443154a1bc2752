"""Which deployments a search looks at, and how it judges them."""

import pytest

from meshtwin.deploy.experiments.limits import Limit
from meshtwin.deploy.experiments.outcome import Outcome
from meshtwin.deploy.experiments.search import Search, candidates, judge
from meshtwin.fabric.topology import load_box

LIMITS = (Limit("sim_ttft_ms", below=50), Limit("sim_tokens_per_s_per_user", above=10))


def search(box: str = "quietbox2", batch_max: int = 4) -> Search:
    return Search(
        "m", load_box(box), 128, 64, ("performance",), batch_max, "sim_tokens_per_s", LIMITS
    )


@pytest.mark.parametrize("box", ["p150", "p300", "quietbox2", "loudbox", "galaxy"])
def test_candidates_fit_the_box_and_are_different(box: str) -> None:
    points = candidates(search(box, batch_max=48))
    chips = load_box(box).num_chips
    assert len({str(point) for point in points}) == len(points)
    for point in points:
        assert chips % (point["tp"] * point["dp"]) == 0
        assert point["dp"] <= point["batch"] <= 48
    assert {point["tp"] for point in points} >= {1, chips}
    assert {48, 32, 1} <= {point["batch"] for point in points}


def outcome(tp: int, batch: int, **found: object) -> Outcome:
    values = {"tp": tp, "dp": 1, "batch": batch, "precision": "performance"}
    return Outcome(values, {"chips": tp, "fits": True, **found}, "", 0.0)


def fast(tokens: float, ttft: float = 1.0, per_user: float = 20.0) -> dict[str, float]:
    return {
        "sim_tokens_per_s": tokens, "sim_ttft_ms": ttft, "sim_tokens_per_s_per_user": per_user,
    }  # fmt: skip


def test_the_best_come_first_and_of_equals_the_one_with_fewer_chips() -> None:
    outcomes = [outcome(4, 1, **fast(5)), outcome(2, 1, **fast(5)), outcome(1, 1, **fast(9))]
    best, reasons = judge(search(), outcomes)
    assert [row["tp"] for row in best] == [1, 2, 4]
    assert not reasons


def test_others_are_out_for_a_reason_and_the_nearest_is_named() -> None:
    no = {"fits": False, "why_not": "no room for w. Held by: much"}
    outcomes = [
        outcome(1, 1, **fast(1, ttft=90)),
        outcome(2, 1, **fast(1, ttft=51)),
        outcome(2, 2, **fast(1, per_user=9)),
        outcome(1, 4, **no),
        outcome(1, 1, **no),
        outcome(1, 2, **no),
        Outcome({"tp": 8, "dp": 1, "batch": 1, "precision": "x"}, None, "PlanError: no", 0.0),
    ]
    best, reasons = judge(search(), outcomes)
    assert not best
    assert [reason.num_cases for reason in reasons] == [3, 2, 1, 1]
    assert [(reason.what, reason.nearest) for reason in reasons] == [
        ("does not fit in DRAM", "tp 1 dp 1 batch 1 performance (no room for w)"),
        ("sim_ttft_ms not below 50", "tp 2 dp 1 batch 1 performance (51)"),
        ("sim_tokens_per_s_per_user not above 10", "tp 2 dp 1 batch 2 performance (9)"),
        ("PlanError: no", "tp 8 dp 1 batch 1 x"),
    ]
